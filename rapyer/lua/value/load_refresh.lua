--- Reads one value of a document and pushes the document's expiry out.
--
-- KEYS    document
-- ARGV    path, ttl
-- RETURNS the value as JSON text
-- ERRORS  KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   repeatable
--- @include "lib/prelude"
--- @include "lib/ttl"

local text, code, detail = read(KEYS[1], take())
if not text then return fail(code, detail) end
expire(KEYS[1], take())
return text
