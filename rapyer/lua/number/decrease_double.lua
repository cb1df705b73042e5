--- Subtracts from a number as doubles do.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, amount
-- RETURNS {the new value}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE OUT_OF_RANGE
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_number"

return run(number_family, "number.decrease_double")
