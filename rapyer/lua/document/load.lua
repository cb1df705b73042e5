--- Reads a whole document.
--
-- KEYS    document
-- ARGV    -
-- RETURNS the document as JSON text
-- ERRORS  KEY_NOT_FOUND WRONG_TYPE
-- FLAGS   no-writes
--- @include "lib/prelude"

local text, code, detail = checked(KEYS[1], redis.pcall("JSON.GET", KEYS[1]))
if not text then return fail(code, detail) end
return text
