-- Finding the element of an array that equals a JSON value, whose doubles are in their short form.
--- @include "lib/prelude"
--- @include "lib/arrays"
--- @include "lib/json_text"

-- find(text) gives the index of the first element that equals the value, or nil. make_lookup() reads the array once, for
-- many: the same function, which also answers with what is equal for equal values, and a table of the indexes by that.
local function make_find(key, path)
  local function kind_of_text(text)
    local first = string.sub(text, 1, 1)
    if first == '"' then return "string" end
    if first == "{" then return "object" end
    if first == "[" then return "array" end
    if first == "n" then return "null" end
    if first == "t" or first == "f" then return "boolean" end
    return string.find(text, "[.eE]") and "number" or "integer"
  end

  -- The number that an integer's text stands for, or nil where a double loses a digit of it.
  local function exact_integer(text)
    local number = tonumber(text)
    return string.format("%.0f", number) == text and number or nil
  end

  -- The same as an integer's text, or nil. In RedisJSON 1 and 1.0 are two values, in Python they are equal.
  local function integer_twin(number)
    if number % 1 ~= 0 or number >= 2 ^ 63 or number < -2 ^ 63 then return nil end
    -- "+ 0" turns a negative zero into zero.
    return string.format("%.0f", number + 0)
  end

  -- As RedisJSON compares: kind and value, whatever the order of an object's members.
  local function index_of(text)
    local index = text and redis.call("JSON.ARRINDEX", key, path, text)[1]
    return index and index >= 0 and index or nil
  end

  local function first(a, b)
    return a and b and math.min(a, b) or a or b
  end

  -- For a value with a double that has no text: RedisJSON's own texts are compared.
  local function find_text(text)
    local json = make_json_text()
    local wanted = json.plain(text)
    for index, element in ipairs(json.elements(read(key, path))) do
      if json.plain(element) == wanted then return index - 1 end
    end
    return nil
  end

  local function find(text)
    local kind = kind_of_text(text)
    if kind == "integer" then return first(index_of(text), exact_integer(text) and index_of(text .. "e0")) end
    if kind == "number" then
      local number = tonumber(text)
      local head, tail = double_texts(number)
      if tail or not head then return find_text(text) end
      return first(index_of(head), index_of(integer_twin(number)))
    end
    if kind ~= "array" and kind ~= "object" then return index_of(text) end
    local readable, exact = make_json_text().readable(text)
    if exact then return index_of(readable) end
    return find_text(text)
  end

  local function make_lookup()
    local json, indexes = make_json_text(), {}

    -- Nothing for what may equal another text: an object's members have no order.
    local function identity(text)
      local kind = kind_of_text(text)
      if kind == "integer" then return exact_integer(text) or text end
      if kind == "number" then return tonumber(text) end
      if kind ~= "array" and kind ~= "object" then return text end
      return not string.find(text, "{", 1, true) and json.plain(text) or nil
    end

    for index, element in ipairs(json.elements(read(key, path))) do
      local id = identity(element)
      if id and not indexes[id] then indexes[id] = index - 1 end
    end
    return function(text)
      local id = identity(text)
      if id then return indexes[id], id end
      return find(text)
    end, indexes
  end

  return find, make_lookup
end
