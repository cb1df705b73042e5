--- Carries out many operations on any number of documents, all or none, then reads what the caller wants to know.
--
-- Each operation is checked before anything of it is written. One that works on a part of a document that an earlier
-- one of the same call changes is marked by the caller as dependent: then what was checked so far is written first,
-- after a copy was put aside that a later refusal brings back.
--
-- KEYS    for each document: document, lock keys..., keys for the use of this call alone...
-- ARGV    documents; for each: ttl, with a "+" behind it if there is more to tell: "refuse" or "skip" if it is gone, number of
--         keys for own use, locks, fencing numbers...;
--         operations; for each: its document's number unless that is the one of the operation before, or the first's;
--         "+" if it is dependent; name, path, what the operation takes;
--         for each document: reads, path of each
-- RETURNS {for each read its JSON text or nothing, what the last operation answers besides}
-- ERRORS  LOCK_LOST KEY_NOT_FOUND PATH_NOT_FOUND WRONG_TYPE OUT_OF_RANGE ZERO_DIVISION INDEX VALUE ENTRY
-- FLAGS   -
--- @include "lib/prelude"
--- @include "lib/ttl"
--- @include "lib/fence"
--- @include "lib/members"

-- documents: by their number, as text. scratch: only if a document has keys for the use of this call.
local documents, scratch = {}, nil
local families = {}

-- Checks an operation completely; returns the function that carries it out, or a refusal. A call uses few operations: the
-- family of one is made when it comes first.
local function check(name, key, path)
  local family = families[name]
  if family then return family(name, key, path) end
  local kind = string.match(name, "^%a+")
  if kind == "value" then
    --- @include "lib/ops_value"
    family = value_family
  elseif kind == "number" then
    --- @include "lib/ops_number"
    family = number_family
  elseif kind == "map" then
    --- @include "lib/ops_map"
    family = map_family
  elseif kind == "list" then
    --- @include "lib/ops_list"
    family = list_family
  elseif kind == "text" then
    --- @include "lib/ops_text"
    family = text_family
  elseif kind == "set" then
    --- @include "lib/ops_set"
    family = set_family
  elseif kind == "document" then
    --- @include "lib/ops_document"
    family = document_family
  elseif kind == "bytes" then
    --- @include "lib/ops_bytes"
    family = bytes_family
  elseif kind == "moment" then
    --- @include "lib/ops_moment"
    family = moment_family
  elseif kind == "splice" then
    --- @include "lib/splice"
    family = splice_family
  end
  families[name] = family
  return family(name, key, path)
end

-- Of each operation that is checked and not yet written: what carries it out, its document, and the field that it leaves
-- as it says, or false.
local pending, last_extra = {}, false

-- An operation that knows the whole value it left ("" is for callers who do not ask) spares reading it: later ones on
-- the same field are dependent.
local function write_pending()
  for i = 1, #pending, 3 do
    local truth, extra = pending[i]()
    local field = pending[i + 2]
    if field and truth and truth ~= "" then pending[i + 1].truths[field] = truth end
    last_extra = extra or false
  end
end

-- Only the document that it works on may differ then from what earlier checks and writes have noted of it.
local function write_before_dependent(document, name, path)
  for i = 2, #pending, 3 do scratch.put_aside(pending[i]) end
  write_pending()
  pending = {}
  objects[document.key], document.truths = nil, {}
  if name ~= "splice.apply" then scratch.finish(document.key, path) end
end

local function carry_out()
  local document = documents["1"]
  for index = 1, tonumber(take()) do
    local name = take()
    local other = documents[name]
    if other then document, name = other, take() end
    local dependent = name == "+"
    if dependent then name = take() end
    local path = take()
    if dependent then write_before_dependent(document, name, path) end
    local apply, code, detail = check(name, document.key, path)
    if apply then
      local field, last = string.sub(path, 1, 2) == "$." and path, #pending
      if field then objects[document.key] = true end
      pending[last + 1], pending[last + 2], pending[last + 3] = apply, document, field
    elseif not (document.skip and code == "KEY_NOT_FOUND") then
      return code, detail, index - 1
    end
  end
  write_pending()
  if scratch then scratch.finish() end
end

local first_key = 1
local count = tonumber(take())
for number = 1, count do
  local ttl, skip, own, held = take(), false, 0, 0
  if string.sub(ttl, -1) == "+" then
    ttl, skip, own = string.sub(ttl, 1, -2), take() == "skip", tonumber(take())
    local code, detail
    held, code, detail = check_locks(first_key + 1)
    if not held then return fail(code, detail) end
  end
  local document = { key = KEYS[first_key], ttl = ttl, skip = skip, truths = {} }
  local own_key = first_key + 1 + held
  first_key = own_key + own
  if own > 0 then
    --- @include "lib/scratch"
    scratch = scratch or make_scratch(documents)
    document.backup = KEYS[own_key]
    scratch.work_keys[document.key] = { unpack(KEYS, own_key + 1, own_key + own - 1) }
  end
  documents[string.format("%d", number)] = document
end

local done, code, detail, index = pcall(carry_out)
if scratch then
  if not done or code then
    scratch.bring_back()
  else
    scratch.clean_up()
  end
end
-- What nobody foresaw, as Redis told it.
if not done then error(code, 0) end
if code then return fail(code, detail, index) end
for _, document in pairs(documents) do expire(document.key, document.ttl) end

local texts = {}
for number = 1, count do
  local document = documents[string.format("%d", number)]
  for _ = 1, tonumber(take()) do
    local path = take()
    texts[#texts + 1] = document.truths[path] or (read(document.key, path)) or false
  end
end
return { texts, last_extra }
