--- Replaces an integer by its remainder, which has the divisor's sign.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path, divisor
-- RETURNS {the new value}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE ZERO_DIVISION
-- FLAGS   -
--- @include "lib/run"
--- @include "lib/ops_number"

return run(number_family, "number.modulo")
