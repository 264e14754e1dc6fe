# Git for Windows with its POSIX tools, keys only for SSH, and at each first boot the key that EC2 was
# given for the new machine.
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue' # drawing a progress bar makes downloads many times slower

if (-not $env:GIT_URL -or -not $env:GIT_SHA256) {
  throw 'git_for_windows_url and git_for_windows_sha256 are needed'
}
$installer = "$env:TEMP\git.exe"
Invoke-WebRequest -UseBasicParsing -Uri $env:GIT_URL -OutFile $installer
$found = (Get-FileHash -Algorithm SHA256 -Path $installer).Hash
if ($found -ne $env:GIT_SHA256) {
  throw "the installer of Git has the sum $found"
}
$done = Start-Process -Wait -PassThru -FilePath $installer -ArgumentList '/VERYSILENT', '/NORESTART', '/SUPPRESSMSGBOXES'
if ($done.ExitCode -ne 0) {
  throw "the installer of Git ended with $($done.ExitCode)"
}

$sshd = "$env:ProgramData\ssh\sshd_config"
$lines = Get-Content $sshd | Where-Object { $_ -notmatch '^\s*#?\s*PasswordAuthentication' }
Set-Content -Path $sshd -Encoding ascii -Value (@('PasswordAuthentication no') + $lines)

# At start: take the key of this machine if it has none. The script holds no secret.
$fetch = "$env:ProgramData\ssh\fetch-key.ps1"
Set-Content -Path $fetch -Encoding ascii -Value @'
$ErrorActionPreference = 'Stop'
$authorized = "$env:ProgramData\ssh\administrators_authorized_keys"
if (Test-Path $authorized) { exit 0 }
$metadata = 'http://169.254.169.254/latest'
$token = Invoke-RestMethod -Method Put -Uri "$metadata/api/token" -Headers @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '60' }
$key = Invoke-RestMethod -Uri "$metadata/meta-data/public-keys/0/openssh-key" -Headers @{ 'X-aws-ec2-metadata-token' = $token }
Set-Content -Path $authorized -Value $key -Encoding ascii
icacls.exe $authorized /inheritance:r /grant 'Administrators:F' /grant 'SYSTEM:F' | Out-Null
'@
$action = New-ScheduledTaskAction -Execute 'powershell.exe' -Argument "-NoProfile -ExecutionPolicy Bypass -File `"$fetch`""
$trigger = New-ScheduledTaskTrigger -AtStartup
Register-ScheduledTask -TaskName 'Fetch SSH key' -Action $action -Trigger $trigger -User 'SYSTEM' -RunLevel Highest -Force | Out-Null
