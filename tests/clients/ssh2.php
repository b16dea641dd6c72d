<?php
// PHP's ssh2 extension, which is libssh2.

$operands = array_slice($argv, 1);
$verb = array_shift($operands);
if ($verb === 'version') {
    if (!extension_loaded('ssh2')) {
        exit(1);
    }
    echo phpversion('ssh2'), ' PHP ', PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION, "\n";
    exit(0);
}
while (in_array($operands[0], ['-r', '-p'], true)) {
    array_shift($operands);
}
$target = array_pop($operands);

$ssh = ssh2_connect(getenv('SCP_HOST'), (int) getenv('SCP_PORT'));
$key = getenv('SCP_KEY');
if (!$ssh || !ssh2_auth_pubkey_file($ssh, getenv('SCP_USER'), "$key.pub", $key)) {
    exit(1);
}
foreach ($operands as $source) {
    $place = count($operands) > 1 ? $target . '/' . basename($source) : $target;
    $done = $verb === 'put'
        ? ssh2_scp_send($ssh, $source, $place, fileperms($source) & 07777)
        : ssh2_scp_recv($ssh, $source, $place);
    if (!$done) {
        exit(1);
    }
}
