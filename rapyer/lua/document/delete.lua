--- Removes a document.
--
-- KEYS    document, lock keys...
-- ARGV    ttl, locks, fencing numbers..., path
-- RETURNS {how many were removed}
-- ERRORS  LOCK_LOST WRONG_TYPE
-- FLAGS   allow-oom
--- @include "lib/run"
--- @include "lib/ops_document"

return run(document_family, "document.delete")
