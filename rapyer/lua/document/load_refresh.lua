--- Reads a whole document and pushes its expiry out.
--
-- KEYS    document
-- ARGV    ttl
-- RETURNS the document as JSON text
-- ERRORS  KEY_NOT_FOUND WRONG_TYPE
-- FLAGS   repeatable
--- @include "lib/prelude"
--- @include "lib/ttl"

local text, code, detail = checked(KEYS[1], redis.pcall("JSON.GET", KEYS[1]))
if not text then return fail(code, detail) end
expire(KEYS[1], take())
return text
