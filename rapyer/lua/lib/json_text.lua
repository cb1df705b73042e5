-- JSON text, walked without decoding it.
--- @include "lib/double"

-- Made only where text has to be opened: scripts run from their first line to their last at every call.
local function make_json_text()
  local json = {}

  local function after_string(text, start)
    local at = start + 1
    while true do
      at = string.find(text, '["\\]', at)
      if string.sub(text, at, at) == '"' then return at + 1 end
      at = at + 2
    end
  end

  local function after_value(text, start)
    local at, nesting = start, 0
    while true do
      at = string.find(text, '["{}%[%],]', at)
      local char = string.sub(text, at, at)
      if char == '"' then
        at = after_string(text, at)
      elseif char == "{" or char == "[" then
        nesting, at = nesting + 1, at + 1
      elseif nesting == 0 then
        return at
      elseif char == "," then
        at = at + 1
      else
        nesting, at = nesting - 1, at + 1
      end
    end
  end

  -- Where the member starts and its value starts and ends in the text of an object, or nil.
  function json.locate(text, name)
    local at = 2
    while string.sub(text, at, at) == '"' do
      local colon = after_string(text, at)
      local stop = after_value(text, colon + 1)
      if string.sub(text, at, colon - 1) == name then return at, colon + 1, stop - 1 end
      at = stop + 1
    end
    return nil
  end

  -- The text of the value of the last member of an object that is not empty.
  function json.last_value(text)
    local at, colon = 2, nil
    while true do
      colon = after_string(text, at)
      local stop = after_value(text, colon + 1)
      if string.sub(text, stop, stop) == "}" then return string.sub(text, colon + 1, stop - 1) end
      at = stop + 1
    end
  end

  local function exact_number(token)
    if not string.find(token, "[.eE]") then return nil end
    return (double_texts(tonumber(token)))
  end

  -- The text with every double in a form that RedisJSON's parser reads exactly, where there is one.
  function json.readable(text)
    local parts, at = {}, 1
    while true do
      local quote = string.find(text, '"', at, true) or #text + 1
      parts[#parts + 1] = string.gsub(string.sub(text, at, quote - 1), "%-?%d[%d.eE+-]*", exact_number)
      if quote > #text then return table.concat(parts) end
      at = after_string(text, quote)
      parts[#parts + 1] = string.sub(text, quote, at - 1)
    end
  end

  return json
end
