--- Removes the last member of an object.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path
-- RETURNS {the new object, {name, removed value}}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE ENTRY
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_map"

return run(map_family, "map.pop_item")
