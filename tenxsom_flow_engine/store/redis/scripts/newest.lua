-- Return ids and positions in sorted sets within ranges of positions, as one text: far less work to read than a list.
-- ARGV[2]: how many are wanted, [3]: how many sets, then the sets' names, then pairs of a range's highest and lowest
-- position. Of each set come that many at most; after a range with which there are enough the others are left.
-- Returns {ranges gone through, text}.
local wanted, sets = tonumber(ARGV[2]), tonumber(ARGV[3])
local found, size, ranges = {}, 0, 0
for i = 4 + sets, #ARGV, 2 do
  for s = 4, 3 + sets do
    local pairs_ = redis.call('ZREVRANGEBYSCORE', P .. ARGV[s], ARGV[i], ARGV[i + 1], 'WITHSCORES', 'LIMIT', 0, wanted)
    if #pairs_ > 0 then
      found[#found + 1] = table.concat(pairs_, ' ')
      size = size + #pairs_ / 2
    end
  end
  ranges = ranges + 1
  if size >= wanted then
    break
  end
end
return {ranges, table.concat(found, ' ')}
