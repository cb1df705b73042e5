--- Reads one value of a document.
--
-- KEYS    document
-- ARGV    path
-- RETURNS the value as JSON text
-- ERRORS  KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   no-writes
--- @include "lib/prelude"

local text, code, detail = read(KEYS[1], take())
if not text then return fail(code, detail) end
return text
