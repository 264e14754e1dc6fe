//! The concrete providers, from the configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context, bail};

use crate::clock::IdSource;
use crate::config::Config;
use crate::provider::Provider;
use crate::provider::local::LocalProvider;

#[cfg(feature = "ec2")]
mod ec2 {
    use std::fs;
    use std::io;
    use std::path::Path;
    use std::sync::Arc;

    use anyhow::{Context, bail};

    use crate::clock::IdSource;
    use crate::config::{AddressChoice as Wanted, Config, Ec2Config};
    use crate::model::Timestamp;
    use crate::provider::Provider;
    use crate::provider::ec2::{AddressChoice, Ec2Provider, Settings};

    /// Where the installation's name is kept that was made at the first start.
    const INSTALLATION_FILE: &str = "installation";

    /// One EC2 provider, whose credentials have been tried.
    pub(super) async fn open(
        config: &Config,
        name: &str,
        ec2: &Ec2Config,
        ids: &IdSource,
    ) -> anyhow::Result<Arc<dyn Provider>> {
        let installation = match installation(config, ec2)? {
            Some(installation) => installation,
            None => make_installation(&config.data_dir, ids)?,
        };
        let provider = Ec2Provider::new(settings(name, ec2, &installation)?).await;
        provider
            .check_credentials()
            .await
            .with_context(|| format!("provider {name} cannot be used"))?;
        Ok(Arc::new(provider))
    }

    /// What the provider is to be like.
    ///
    /// # Errors
    /// When the key for the jump host cannot be read.
    pub(in crate::app) fn settings(
        name: &str,
        ec2: &Ec2Config,
        installation: &str,
    ) -> anyhow::Result<Settings> {
        let jump = match &ec2.jump {
            Some(jump) => Some(jump.load().with_context(|| {
                format!(
                    "cannot read the key for the jump host, {}",
                    jump.key.display()
                )
            })?),
            None => None,
        };
        Ok(Settings {
            profile: ec2.profile.clone(),
            role: ec2.role.clone(),
            endpoint_url: ec2.endpoint_url.clone(),
            subnets: ec2.subnets.clone(),
            security_groups: ec2.security_groups.clone(),
            instance_profile: ec2.instance_profile.clone(),
            address: match ec2.address {
                Wanted::Private => AddressChoice::Private,
                Wanted::Public => AddressChoice::Public,
                Wanted::Both => AddressChoice::Both,
            },
            jump,
            interruption_queue: ec2.interruption_queue.clone(),
            ssh_port: ec2.ssh_port,
            metadata_url: Some(ec2.metadata_url.clone()),
            poll_interval: ec2.poll_interval,
            ..Settings::new(name, &ec2.region, installation)
        })
    }

    /// The installation's name: as configured, or as made before.
    ///
    /// # Errors
    /// When the file that keeps it cannot be read.
    pub(in crate::app) fn installation(
        config: &Config,
        ec2: &Ec2Config,
    ) -> anyhow::Result<Option<String>> {
        if let Some(installation) = &ec2.installation {
            return Ok(Some(installation.clone()));
        }
        let path = config.data_dir.join(INSTALLATION_FILE);
        match fs::read_to_string(&path) {
            Ok(text) if text.trim().is_empty() => bail!("{} is empty", path.display()),
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    fn make_installation(directory: &Path, ids: &IdSource) -> anyhow::Result<String> {
        let path = directory.join(INSTALLATION_FILE);
        // Its random half: nobody else's is the same.
        let bits = ids.bits(Timestamp::default());
        let name = format!("dormouse-{:020x}", bits & ((1 << 80) - 1));
        fs::write(&path, format!("{name}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
        tracing::info!(installation = name, "this installation got its name");
        Ok(name)
    }
}

#[cfg(feature = "ec2")]
pub(super) use ec2::{installation, settings};

/// All providers that are configured, by name.
///
/// # Errors
/// When one cannot be used, or none is configured.
pub(super) async fn providers(
    config: &Config,
    ids: &IdSource,
) -> anyhow::Result<BTreeMap<String, Arc<dyn Provider>>> {
    let mut providers: BTreeMap<String, Arc<dyn Provider>> = BTreeMap::new();
    if let Some(local) = &config.providers.local {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let name = "local".to_owned();
        let provider = LocalProvider::new(name.clone(), local.directory.clone(), program);
        providers.insert(name, Arc::new(provider));
    }
    for (name, ec2) in &config.providers.ec2 {
        #[cfg(feature = "ec2")]
        let provider = ec2::open(config, name, ec2, ids).await?;
        #[cfg(not(feature = "ec2"))]
        let provider = without_ec2(name, ec2, ids)?;
        if providers.insert(name.clone(), provider).is_some() {
            bail!("two providers are called {name:?}");
        }
    }
    if providers.is_empty() {
        bail!(
            "no provider is enabled: set providers.local.enabled, or describe one in providers.ec2"
        );
    }
    Ok(providers)
}

#[cfg(not(feature = "ec2"))]
fn without_ec2(
    name: &str,
    _ec2: &crate::config::Ec2Config,
    _ids: &IdSource,
) -> anyhow::Result<Arc<dyn Provider>> {
    bail!("provider {name} is of EC2, and this program was built without the feature ec2")
}
