-- Refuse to use a store whose jobs have moved to another (see store/moving.py).
local moved = redis.call('GET', P .. 'moved')
if moved then
  return redis.error_reply('STOREMOVED ' .. moved)
end
