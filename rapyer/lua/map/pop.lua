--- Removes a member of an object if it is there.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, path of the member
-- RETURNS {the new object, the removed value or nothing}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_map"

return run(map_family, "map.pop")
