-- KEYS: the versions. ARGV: name of the mark, seconds it lives.

local now = tonumber(redis.call('TIME')[1])
for _, key in ipairs(KEYS) do
  redis.call('DEL', key)
  redis.call('ZREMRANGEBYSCORE', key .. ':marks', '-inf', now - 1)
  redis.call('ZADD', key .. ':marks', now + ARGV[2], ARGV[1])
  redis.call('EXPIRE', key .. ':marks', ARGV[2] * 2)
end
