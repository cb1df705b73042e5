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

  -- The texts of the elements of an array.
  function json.elements(text)
    local elements, at = {}, 2
    while at < #text do
      local stop = after_value(text, at)
      elements[#elements + 1] = string.sub(text, at, stop - 1)
      at = stop + 1
    end
    return elements
  end

  -- The text with what matches outside its strings replaced.
  function json.replaced(text, pattern, by)
    local parts, at = {}, 1
    while true do
      local quote = string.find(text, '"', at, true) or #text + 1
      parts[#parts + 1] = string.gsub(string.sub(text, at, quote - 1), pattern, by)
      if quote > #text then return table.concat(parts) end
      at = after_string(text, quote)
      parts[#parts + 1] = string.sub(text, quote, at - 1)
    end
  end

  -- The text with every double as a function writes it that is given its text.
  local function with_doubles(text, written)
    return json.replaced(text, "%-?%d[%d.eE+-]*", function(token)
      return string.find(token, "[.eE]") and written(token)
    end)
  end

  -- The text with every double in a form that RedisJSON's parser reads exactly, and whether there is one of each.
  function json.readable(text)
    local exact = true
    local result = with_doubles(text, function(token)
      local head, tail = double_texts(tonumber(token))
      exact = exact and head ~= nil and tail == nil
      return head
    end)
    return result, exact
  end

  -- The same for two texts only if all their doubles are the same.
  function json.plain(text)
    return with_doubles(text, function(token) return string.format("%.17g", tonumber(token)) end)
  end

  return json
end
