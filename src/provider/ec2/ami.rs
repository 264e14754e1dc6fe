//! Finds the AMI that an image's reference stands for, and what a launch must know of it.

use aws_sdk_ec2::types as sdk;

use super::clients::{Call, Clients};
use super::errors::refuse;
use super::reference::{Named, OPERATION, Reference, Source, Template, claimed_architecture};
use crate::model::{CapabilityValue, ImageSpec};
use crate::provider::{ErrorKind, ProviderError};

/// Most AMIs of one page.
const PAGE: i32 = 500;
/// Most pages that are read: a pattern that matches more says too little.
const MOST_PAGES: u32 = 20;
/// The root volume of an AMI that does not say: what AWS takes for the common ones.
const DEFAULT_ROOT_GIB: u32 = 8;

/// An AMI, as far as it matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MachineImage {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// When it was made, in RFC 3339.
    pub created_at: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// The device that the root volume is.
    pub root_device: String,
    /// The size of the root volume's snapshot.
    pub root_gib: u32,
    /// Whether it drives enhanced networking, without which current types have no network. One that
    /// does not say is taken to: if not, the launch is refused with that reason.
    pub ena: bool,
    /// `uefi`, `legacy-bios` or `uefi-preferred`, if it says.
    pub boot_mode: Option<String>,
    /// What it is billed as: `Linux/UNIX` when without licence fees.
    pub platform: String,
    /// When its owner wants it to be no longer used.
    pub deprecated_at: Option<String>,
}

impl MachineImage {
    /// One clause for people.
    pub(super) fn describe(&self) -> String {
        let day = self.created_at.get(..10).unwrap_or(&self.created_at);
        let mut text = format!(
            "{} of {day}, {}, ebs {} GiB ({})",
            self.name, self.architecture, self.root_gib, self.id
        );
        if let Some(day) = self
            .deprecated_at
            .as_deref()
            .and_then(|time| time.get(..10))
        {
            text = format!("{text}, deprecated from {day} on");
        }
        text
    }
}

/// Finds the AMI and holds it against what the image file claims.
///
/// # Errors
/// `Config` when there is none, or it is not as claimed; else what AWS said.
pub(super) async fn find(
    clients: &Clients,
    spec: &ImageSpec,
    reference: &Reference,
) -> Result<MachineImage, ProviderError> {
    let architecture = wanted_architecture(spec)?;
    let found = match &reference.source {
        Source::Id(id) => by_id(clients, id).await?,
        Source::Newest(named) => newest(clients, named, architecture).await?,
        Source::Parameter(name) => by_id(clients, &parameter(clients, name).await?).await?,
        Source::Template(template) => {
            by_id(clients, &from_template(clients, template).await?).await?
        }
    };
    let image = read(&found).map_err(config)?;
    check(&image, spec, architecture).map_err(config)?;
    Ok(image)
}

fn config(message: impl std::fmt::Display) -> ProviderError {
    refuse(OPERATION, ErrorKind::Config, message)
}

/// The architecture that the image claims, or the only one that its sizes may have.
fn wanted_architecture(spec: &ImageSpec) -> Result<Option<&str>, ProviderError> {
    let claimed = claimed_architecture(spec)?;
    let wished = spec.wish.as_ref().map(|wish| wish.architectures.as_slice());
    Ok(claimed.or(match wished {
        Some([only]) => Some(only),
        Some(_) | None => None,
    }))
}

async fn by_id(clients: &Clients, id: &str) -> Result<sdk::Image, ProviderError> {
    let request = clients.ec2.describe_images().image_ids(id);
    let call = Call::new("DescribeImages", OPERATION);
    let answer = clients.call(call, request.send()).await?;
    let found = answer.images.unwrap_or_default().into_iter().next();
    let found = found.ok_or_else(|| config(format!("there is no AMI {id}")))?;
    match found.state {
        Some(sdk::ImageState::Available) => Ok(found),
        state => {
            let state = state.map_or("in no known state".to_owned(), |state| state.to_string());
            Err(config(format!("the AMI {id} is {state}, not available")))
        }
    }
}

async fn newest(
    clients: &Clients,
    named: &Named,
    architecture: Option<&str>,
) -> Result<sdk::Image, ProviderError> {
    let filter = |name: &str, value: &str| sdk::Filter::builder().name(name).values(value).build();
    let mut request = clients
        .ec2
        .describe_images()
        .owners(&named.owner)
        .filters(filter("name", &named.name))
        .filters(filter("state", "available"))
        .max_results(PAGE);
    if let Some(architecture) = architecture {
        request = request.filters(filter("architecture", architecture));
    }
    let mut best: Option<sdk::Image> = None;
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let call = Call::new("DescribeImages", OPERATION);
        let page = request.clone().set_next_token(token).send();
        let answer = clients.call(call, page).await?;
        let age = |image: &sdk::Image| (image.creation_date.clone(), image.image_id.clone());
        best = best
            .into_iter()
            .chain(answer.images.unwrap_or_default())
            .max_by_key(age);
        token = answer.next_token.filter(|token| !token.is_empty());
        if token.is_none() {
            let what = architecture
                .map(|word| format!(" of {word}"))
                .unwrap_or_default();
            let message = format!(
                "there is no AMI{what} named {} that belongs to {}",
                named.name, named.owner
            );
            return best.ok_or_else(|| config(message));
        }
    }
    Err(config(format!(
        "too many AMIs are named {}; say more of the name",
        named.name
    )))
}

async fn parameter(clients: &Clients, name: &str) -> Result<String, ProviderError> {
    let call = Call::new("GetParameter", OPERATION);
    let asked = clients
        .call(call, clients.ssm.get_parameter().name(name).send())
        .await;
    let answer = asked.map_err(|failure| {
        if failure.code.as_deref() == Some("ParameterNotFound") {
            return config(format!("there is no SSM parameter {name}"));
        }
        failure.into()
    })?;
    let value = answer.parameter.and_then(|parameter| parameter.value);
    let value = value.unwrap_or_default().trim().to_owned();
    if !value.starts_with("ami-") {
        return Err(config(format!(
            "the SSM parameter {name} does not hold the id of an AMI"
        )));
    }
    Ok(value)
}

async fn from_template(clients: &Clients, template: &Template) -> Result<String, ProviderError> {
    let request = clients
        .ec2
        .describe_launch_template_versions()
        .set_launch_template_name(template.name.clone())
        .set_launch_template_id(template.id.clone())
        .versions(&template.version);
    let call = Call::new("DescribeLaunchTemplateVersions", OPERATION);
    let answer = clients.call(call, request.send()).await?;
    let versions = answer.launch_template_versions.unwrap_or_default();
    let data = versions
        .into_iter()
        .find_map(|version| version.launch_template_data);
    let name = template.name.as_ref().or(template.id.as_ref());
    data.and_then(|data| data.image_id)
        .filter(|id| id.starts_with("ami-"))
        .ok_or_else(|| {
            let name = name.map_or("", String::as_str);
            let version = &template.version;
            config(format!(
                "version {version} of the launch template {name} names no AMI by its id"
            ))
        })
}

/// Reads what EC2 says of an AMI.
fn read(image: &sdk::Image) -> Result<MachineImage, String> {
    let id = image.image_id.clone().unwrap_or_default();
    let text = |value: &Option<String>, what: &str| {
        let value = value.clone().filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("EC2 does not say the {what} of the AMI {id}"))
    };
    if image.root_device_type != Some(sdk::DeviceType::Ebs) {
        return Err(format!(
            "the AMI {id} has no EBS root volume, which machines need"
        ));
    }
    if image.virtualization_type == Some(sdk::VirtualizationType::Paravirtual) {
        return Err(format!(
            "the AMI {id} is paravirtual, which current types do not boot"
        ));
    }
    if image.platform.is_some() {
        return Err(format!(
            "the AMI {id} is for Windows, which is not supported"
        ));
    }
    let root_device = text(&image.root_device_name, "root device")?;
    let architecture = image
        .architecture
        .as_ref()
        .map(|word| word.as_str().to_owned());
    let mappings = image.block_device_mappings.as_deref().unwrap_or_default();
    let root = mappings
        .iter()
        .find(|mapping| mapping.device_name.as_deref() == Some(root_device.as_str()))
        .and_then(|mapping| mapping.ebs.as_ref())
        .and_then(|ebs| u32::try_from(ebs.volume_size?).ok());
    Ok(MachineImage {
        name: image.name.clone().unwrap_or_else(|| id.clone()),
        created_at: image.creation_date.clone().unwrap_or_default(),
        architecture: text(&architecture, "architecture")?,
        root_device,
        root_gib: root.filter(|size| *size > 0).unwrap_or(DEFAULT_ROOT_GIB),
        ena: image.ena_support.unwrap_or(true),
        boot_mode: image
            .boot_mode
            .as_ref()
            .map(|mode| mode.as_str().to_owned()),
        platform: image
            .platform_details
            .clone()
            .unwrap_or_else(|| "Linux/UNIX".to_owned()),
        deprecated_at: image.deprecation_time.clone(),
        id,
    })
}

/// Holds an AMI against what the image file says of it.
fn check(image: &MachineImage, spec: &ImageSpec, wanted: Option<&str>) -> Result<(), String> {
    let (id, is) = (&image.id, &image.architecture);
    if let Some(wanted) = wanted.filter(|wanted| wanted != is) {
        return Err(format!(
            "the image is to be {wanted}, but the AMI {id} is {is}"
        ));
    }
    let wished = spec.wish.iter().flat_map(|wish| &wish.architectures);
    let wished: Vec<&str> = wished.map(String::as_str).collect();
    if !wished.is_empty() && !wished.contains(&is.as_str()) {
        let wished = wished.join(" or ");
        return Err(format!(
            "shapes are to be {wished}, but the AMI {id} is {is}"
        ));
    }
    let windows = |value: &String| value.eq_ignore_ascii_case("windows");
    if let Some(CapabilityValue::Values(values)) = spec.capabilities.get("os")
        && values.iter().any(windows)
    {
        return Err(format!(
            "the image claims os: windows, but the AMI {id} is of {}",
            image.platform
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::{Login, ShapeWish, Span};

    fn spec(claims: &[(&str, &str)], architectures: &[&str]) -> ImageSpec {
        let claim = |(key, value): &(&str, &str)| {
            (
                (*key).to_owned(),
                CapabilityValue::Values(vec![(*value).to_owned()]),
            )
        };
        ImageSpec {
            description: String::new(),
            provider: "ec2".to_owned(),
            reference: serde_json::Value::Null,
            login: Login {
                user: "admin".to_owned(),
            },
            shapes: Vec::new(),
            wish: Some(ShapeWish {
                architectures: architectures.iter().map(|&word| word.to_owned()).collect(),
                ..ShapeWish::default()
            }),
            capabilities: claims.iter().map(claim).collect(),
            ready: None,
            probes: BTreeMap::new(),
            boot_timeout: Span::from_secs(60),
            slots: 1,
            billing: None,
        }
    }

    fn debian() -> sdk::builders::ImageBuilder {
        let ebs = sdk::EbsBlockDevice::builder().volume_size(8).build();
        let root = sdk::BlockDeviceMapping::builder()
            .device_name("/dev/xvda")
            .ebs(ebs)
            .build();
        sdk::Image::builder()
            .image_id("ami-1")
            .name("debian-12-amd64-20261105")
            .creation_date("2026-11-05T12:00:00.000Z")
            .architecture(sdk::ArchitectureValues::X8664)
            .root_device_type(sdk::DeviceType::Ebs)
            .root_device_name("/dev/xvda")
            .block_device_mappings(root)
            .ena_support(true)
    }

    #[test]
    fn an_ami_is_described_in_a_clause() {
        let image = read(&debian().build()).unwrap();
        assert_eq!(
            image.describe(),
            "debian-12-amd64-20261105 of 2026-11-05, x86_64, ebs 8 GiB (ami-1)"
        );
        let image = read(
            &debian()
                .deprecation_time("2028-11-05T00:00:00.000Z")
                .build(),
        )
        .unwrap();
        assert!(
            image
                .describe()
                .ends_with("(ami-1), deprecated from 2028-11-05 on")
        );
    }

    #[test]
    fn an_ami_that_cannot_be_booted_is_refused() {
        let store = debian().root_device_type(sdk::DeviceType::InstanceStore);
        let para = debian().virtualization_type(sdk::VirtualizationType::Paravirtual);
        let windows = debian().platform(sdk::PlatformValues::Windows);
        for (image, part) in [(store, "EBS"), (para, "paravirtual"), (windows, "Windows")] {
            let error = read(&image.build()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_ami_is_held_against_the_claims() {
        let image = read(&debian().build()).unwrap();
        let verdict = |spec: &ImageSpec| {
            let wanted = wanted_architecture(spec).map_err(|error| error.message)?;
            check(&image, spec, wanted)
        };
        assert_eq!(verdict(&spec(&[], &[])), Ok(()));
        assert_eq!(
            verdict(&spec(&[("arch", "amd64"), ("os", "debian")], &["x86_64"])),
            Ok(())
        );
        assert_eq!(verdict(&spec(&[], &["arm64", "x86_64"])), Ok(()));
        for (spec, part) in [
            (
                spec(&[("arch", "aarch64")], &[]),
                "to be arm64, but the AMI ami-1 is x86_64",
            ),
            (spec(&[], &["arm64"]), "to be arm64"),
            (
                spec(&[("arch", "x86_64")], &["arm64"]),
                "shapes are to be arm64",
            ),
            (spec(&[("os", "Windows")], &[]), "claims os: windows"),
            (spec(&[("arch", "riscv64")], &[]), "either x86_64"),
        ] {
            let error = verdict(&spec).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
