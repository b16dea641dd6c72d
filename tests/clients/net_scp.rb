# Ruby's net-scp.

require "net/scp"

verb, *operands = ARGV
if verb == "version"
  specs = %w[net-scp net-ssh].map { |name| Gem.loaded_specs[name] || Gem::Specification.find_by_name(name) }
  puts "#{specs[0].version} net-ssh #{specs[1].version}"
  exit
end
flags, operands = operands.partition { |word| %w[-r -p].include?(word) }
*sources, target = operands
how = { recursive: flags.include?("-r"), preserve: flags.include?("-p") }

Net::SSH.start(
  ENV.fetch("SCP_HOST"), ENV.fetch("SCP_USER"),
  port: ENV.fetch("SCP_PORT").to_i, keys: [ENV.fetch("SCP_RSA_KEY")], keys_only: true, use_agent: false,
  config: false, host_key: "rsa-sha2-256", non_interactive: true,
  user_known_hosts_file: ENV.fetch("SCP_KNOWN_HOSTS"), global_known_hosts_file: [], verify_host_key: :always
) do |ssh|
  # It writes in small pieces and would wait 40 ms for each.
  ssh.transport.socket.setsockopt(Socket::IPPROTO_TCP, Socket::TCP_NODELAY, 1)
  sources.each do |source|
    verb == "put" ? ssh.scp.upload!(source, target, **how) : ssh.scp.download!(source, target, **how)
  end
end
