--- Removes an element that has to be in an array.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, text
-- RETURNS {the new array}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE ENTRY
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_set"

return run(set_family, "set.remove")
