-- The amounts of the budgets, in micro-dollars; loaded between the prelude and the scripts that change records.
-- `charges:<block>:<scope>` has the amounts of quarters of an hour, `r` (reserved) and `s` (spent) before the quarter's
-- number; `periods:<scope>` their sums over the periods of budgets, each made when it is first needed, with the first
-- quarter and the one after the last: `r<begins>|<ends>`.
local BLOCK = 3072           -- quarters in a block, 32 days
local KEEP_SECONDS = 9000000 -- the keys of a block are removed this long after its last write: 104 days

local function amount(value)
  return tonumber(value or '0') or 0  -- a foreign value counts as nothing
end

-- Add to a field, but never below zero.
local function add_amount(key, field, change)
  local sum = redis.pcall('HINCRBY', key, field, string.format('%.0f', change))
  if type(sum) == 'table' then
    redis.call('HSET', key, field, string.format('%.0f', math.max(change, 0)))
  elseif sum < 0 then
    redis.call('HSET', key, field, '0')
  end
end

-- The sums of a scope over the quarters from `begins` to before `ends`.
local function sum_of_quarters(scope, begins, ends)
  local sums = {r = 0, s = 0}
  for block = math.floor(begins / BLOCK), math.floor((ends - 1) / BLOCK) do
    local fields = redis.call('HGETALL', P .. 'charges:' .. string.format('%.0f', block) .. ':' .. scope)
    for i = 1, #fields, 2 do
      local kind, quarter = string.sub(fields[i], 1, 1), tonumber(string.sub(fields[i], 2))
      if sums[kind] and quarter and quarter >= begins and quarter < ends then
        sums[kind] = sums[kind] + amount(fields[i + 1])
      end
    end
  end
  return sums
end

local function period_field(begins, ends)
  return string.format('%.0f|%.0f', begins, ends)
end

-- The sums of a period, from the quarter `begins` to before `ends`, if they have been made.
local function period_sums(scope, begins, ends)
  local field = period_field(begins, ends)
  local found = redis.call('HMGET', P .. 'periods:' .. scope, 'r' .. field, 's' .. field)
  if found[1] and found[2] then
    return amount(found[1]), amount(found[2])
  end
end

-- What a period has used; its sums are made if they do not exist yet, and those of earlier periods are removed.
local function used(instant, scope, begins, ends)
  local reserved, spent = period_sums(scope, begins, ends)
  if reserved then
    return reserved, spent
  end
  local key, field = P .. 'periods:' .. scope, period_field(begins, ends)
  for _, name in ipairs(redis.call('HKEYS', key)) do
    local last = tonumber(string.match(name, '|(%d+)$') or '')
    if not last or last * 900 < instant then
      redis.call('HDEL', key, name)
    end
  end
  local sums = sum_of_quarters(scope, begins, ends)
  redis.call('HSET', key, 'r' .. field, string.format('%.0f', sums.r), 's' .. field, string.format('%.0f', sums.s))
  return sums.r, sums.s
end

-- Add the amounts of one scope and quarter.
local function charge(scope, quarter, reserved, spent)
  local key = P .. 'charges:' .. string.format('%.0f', math.floor(quarter / BLOCK)) .. ':' .. scope
  local changes = {r = reserved, s = spent}
  for kind, change in pairs(changes) do
    if change ~= 0 then
      add_amount(key, kind .. string.format('%.0f', quarter), change)
    end
  end
  redis.call('EXPIRE', key, KEEP_SECONDS)
  redis.call('SET', P .. 'charged', '1')  -- so that nothing is counted again (see seed_charges)
  local periods = P .. 'periods:' .. scope
  for _, name in ipairs(redis.call('HKEYS', periods)) do
    local kind, begins, ends = string.match(name, '^([rs])(%d+)|(%d+)$')
    if kind and changes[kind] ~= 0 and tonumber(begins) <= quarter and quarter < tonumber(ends) then
      add_amount(periods, name, changes[kind])
    end
  end
end

-- Make the charges of a change, if all its budgets are known and have room; `charges` has the fields of
-- `budgets.ChargeArgument`. Returns nil, or why it made none: `budgets` if a budget has another text, or `spent` followed by
-- the place, reserved and spent amount of each limit without room.
local function make_charges(instant, charges)
  for _, budget in ipairs(charges.budgets or {}) do
    if (redis.call('HGET', P .. 'budgets', budget[1]) or '') ~= budget[2] then
      return 'budgets'
    end
  end
  local refused = ''
  for place, demand in ipairs(charges.limits or {}) do
    local scope, begins, ends, needed, limit = unpack(demand)
    local reserved, spent = used(instant, scope, begins, ends)
    if reserved + spent + needed > limit then
      refused = refused .. string.format(' %d %.0f %.0f', place - 1, reserved, spent)
    end
  end
  if refused ~= '' then
    return 'spent' .. refused
  end
  for _, one in ipairs(charges.amounts) do
    charge(unpack(one))
  end
end
