--- Sets one member or element.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, path of the member, value
-- RETURNS {"" and nothing else}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE INDEX
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_value"

return run(value_family, "value.set")
