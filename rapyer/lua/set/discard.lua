--- Removes elements from an array where they are in it.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, count, texts
-- RETURNS {the new array}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_set"

return run(set_family, "set.discard")
