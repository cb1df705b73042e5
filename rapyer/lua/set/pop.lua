--- Removes an element of an array, the one that was added last.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path
-- RETURNS {the new array, the removed value or nothing}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_set"

return run(set_family, "set.pop")
