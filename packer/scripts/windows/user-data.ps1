<powershell>
# First boot of the machine that is baked: OpenSSH, and the key that EC2 knows it by.
$ErrorActionPreference = 'Stop'

Add-WindowsCapability -Online -Name 'OpenSSH.Server~~~~0.0.1.0' | Out-Null

# IMDSv2: a token first.
$metadata = 'http://169.254.169.254/latest'
$token = Invoke-RestMethod -Method Put -Uri "$metadata/api/token" -Headers @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '60' }
$key = Invoke-RestMethod -Uri "$metadata/meta-data/public-keys/0/openssh-key" -Headers @{ 'X-aws-ec2-metadata-token' = $token }

# Keys of administrators live here, and sshd ignores the file if others may write to it.
New-Item -ItemType Directory -Force -Path "$env:ProgramData\ssh" | Out-Null
$authorized = "$env:ProgramData\ssh\administrators_authorized_keys"
Set-Content -Path $authorized -Value $key -Encoding ascii
icacls.exe $authorized /inheritance:r /grant 'Administrators:F' /grant 'SYSTEM:F' | Out-Null

New-ItemProperty -Path 'HKLM:\SOFTWARE\OpenSSH' -Name DefaultShell -PropertyType String -Force `
  -Value "$env:SystemRoot\System32\WindowsPowerShell\v1.0\powershell.exe" | Out-Null
if (-not (Get-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -ErrorAction SilentlyContinue)) {
  New-NetFirewallRule -Name 'OpenSSH-Server-In-TCP' -DisplayName 'OpenSSH' -Direction Inbound `
    -Protocol TCP -LocalPort 22 -Action Allow | Out-Null
}
Set-Service -Name sshd -StartupType Automatic
Start-Service sshd
</powershell>
