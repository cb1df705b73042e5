--- Appends to a string.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, JSON string
-- RETURNS {the new value}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_text"

return run(text_family, "text.append")
