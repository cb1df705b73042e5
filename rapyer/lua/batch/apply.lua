--- Carries out many operations on any number of documents, all or none, then reads what the caller wants to know.
--
-- Each operation is checked before anything of it is written. One that works on a part of a document that an earlier
-- one of the same call changes is marked by the caller as dependent: then what was checked so far is written first,
-- after a copy was put aside that a later refusal brings back.
--
-- KEYS    for each document: document, lock keys..., keys for the use of this call alone...
-- ARGV    documents; for each: ttl, "refuse" or "skip" if it is gone, number of keys for own use, locks, fencing numbers...;
--         operations; for each: document, "1" if dependent, name, path, what the operation takes;
--         reads; for each: document, path
-- RETURNS {for each read its JSON text or nothing, what the last operation answers besides}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE OUT_OF_RANGE ZERO_DIVISION INDEX VALUE ENTRY
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"
--- @include "lib/fence"
--- @include "lib/json_text"
--- @include "lib/members"
--- @include "lib/int64"
--- @include "lib/double"
--- @include "lib/arrays"
--- @include "lib/find"
--- @include "lib/work_keys"

-- A call uses few of the families: each is made when its first operation comes.
local function make_family(_, family)
  if family == "value" then
    --- @include "lib/ops_value"
  elseif family == "number" then
    --- @include "lib/ops_number"
  elseif family == "map" then
    --- @include "lib/ops_map"
  elseif family == "list" then
    --- @include "lib/ops_list"
  elseif family == "text" then
    --- @include "lib/ops_text"
  elseif family == "set" then
    --- @include "lib/ops_set"
  elseif family == "document" then
    --- @include "lib/ops_document"
  elseif family == "bytes" then
    --- @include "lib/ops_bytes"
  elseif family == "moment" then
    --- @include "lib/ops_moment"
  elseif family == "splice" then
    --- @include "lib/splice"
  end
  return rawget(families, family)
end
setmetatable(families, { __index = make_family })

local documents, pending = {}, {}
local last_extra = false

local function take_document(first_key)
  local document = { key = KEYS[first_key], ttl = take(), skip = take() == "skip", truths = {} }
  local own = take_number()
  local held, code, detail = check_locks(first_key + 1)
  if not held then return nil, code, detail end
  local next_key = first_key + 1 + held
  if own > 0 then
    document.backup, work_keys[document.key] = KEYS[next_key], {}
    for i = 2, own do work_keys[document.key][i - 1] = KEYS[next_key + i - 1] end
  end
  return document, next_key + own
end

local function put_aside(document)
  if document.saved then return end
  document.saved = redis.call("COPY", document.key, document.backup, "REPLACE") == 1 and "copy" or "nothing"
end

-- An operation that knows the whole value it left ("" is for callers who do not ask) spares reading it: later ones on
-- the same field are dependent.
local function write_pending()
  for _, change in ipairs(pending) do
    local truth, extra = change.apply()
    if change.field and truth and truth ~= "" then change.document.truths[change.field] = truth end
    last_extra = extra or false
  end
  pending = {}
end

-- Only the document that it works on may differ then from what earlier checks and writes have noted of it.
local function write_before_dependent(document)
  for _, change in ipairs(pending) do put_aside(change.document) end
  write_pending()
  objects[document.key], document.truths = nil, {}
end

local function clean_up()
  for _, document in ipairs(documents) do
    if document.saved == "copy" then redis.call("DEL", document.backup) end
    if document.backup then
      for _, work in ipairs(work_keys[document.key]) do redis.call("DEL", work) end
    end
  end
end

local function bring_back()
  for _, document in ipairs(documents) do
    if document.saved == "copy" then redis.call("RENAME", document.backup, document.key) end
    if document.saved == "nothing" then redis.call("DEL", document.key) end
    document.saved = nil
  end
  clean_up()
end

local function check_operation()
  local document, dependent = documents[take_number()], take() == "1"
  local name, path = take(), take()
  if dependent then write_before_dependent(document) end
  if dependent and name ~= "splice.apply" then finish(document.key, path) end
  local apply, code, detail = check(name, document.key, path)
  if apply then
    local field = string.sub(path, 1, 2) == "$." and path
    if field then objects[document.key] = true end
    pending[#pending + 1] = { apply = apply, document = document, field = field }
    return true
  end
  if document.skip and code == "KEY_NOT_FOUND" then return true end
  return nil, code, detail
end

local function carry_out()
  for index = 1, take_number() do
    local ready, code, detail = check_operation()
    if not ready then return code, detail, index - 1 end
  end
  write_pending()
  finish()
end

local function take_reads()
  local texts = {}
  for i = 1, take_number() do
    local document, path = documents[take_number()], take()
    texts[i] = document.truths[path] or (read(document.key, path)) or false
  end
  return texts
end

local next_key = 1
for i = 1, take_number() do
  local document, code, detail = take_document(next_key)
  if not document then return fail(code, detail) end
  documents[i], next_key = document, code
end

local done, code, detail, index = pcall(carry_out)
if not done or code then bring_back() end
-- What nobody foresaw, as Redis told it.
if not done then error(code, 0) end
if code then return fail(code, detail, index) end
clean_up()
for _, document in ipairs(documents) do expire(document.key, document.ttl) end
return { take_reads(), last_extra }
