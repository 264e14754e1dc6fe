output "log_bucket" {
  description = "Bucket of the build logs."
  value       = module.dormouse.log_bucket
}

output "find_address" {
  description = "Command that prints the orchestrator's address."
  value       = module.dormouse.find_address
}

output "settings" {
  description = "The dormouse.yaml of the orchestrator."
  value       = module.dormouse.settings
}

output "sweeper_role_arn" {
  description = "The role for `dormouse sweep`."
  value       = module.sweeper.role_arn
}
