--- Sets one member of an object.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, path of the member, value
-- RETURNS {the new object}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE INDEX
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_map"

return run(map_family, "map.set_item")
