//! What an AWS error means for us: one table of codes, and what comes before there is a code.
//!
//! Decisions look at [`ErrorKind`] only. A code that is not in the table fails fast and is shown: it
//! is `Config` when AWS blames the request and `Unknown` when it blames itself.

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};

use crate::model::Pool;
use crate::provider::{ErrorKind, ProviderError};

/// What a code stands for.
struct Row {
    /// The code; one that ends in `*` stands for all that begin like it.
    code: &'static str,
    kind: ErrorKind,
    /// What follows from it, as a clause for people.
    means: &'static str,
}

const fn row(code: &'static str, kind: ErrorKind, means: &'static str) -> Row {
    Row { code, kind, means }
}

const NO_CAPACITY: &str = "other pools are tried first, this one again later";
const NO_ADDRESS: &str = "other zones are tried first, this one again later";
const TOO_OFTEN: &str = "calls slow down for a while";
const AMBIGUOUS: &str = "it is sent again with the same token, or settled by a listing";
const PASSING: &str = "it is tried again when the state has passed";
const CANNOT_WORK: &str = "the image or the provider's settings must be changed";
const MAY_NOT: &str = "the account must be put in order before anything is launched";
const NOT_ALLOWED: &str = "allow this call in the IAM policy";
const NOT_ACCEPTED: &str = "the credentials are not accepted";
const RUN_OUT: &str = "the credentials have run out, or the clock is wrong";

/// Every code that we know, once. Exact codes come before the patterns that would catch them.
const TABLE: &[Row] = &[
    // No capacity. Most of these are HTTP 500: the SDK would send them again if we let it.
    row(
        "InsufficientInstanceCapacity",
        ErrorKind::PoolEmpty,
        NO_CAPACITY,
    ),
    row(
        "InsufficientHostCapacity",
        ErrorKind::PoolEmpty,
        NO_CAPACITY,
    ),
    row(
        "InsufficientCapacityOnHost",
        ErrorKind::PoolEmpty,
        NO_CAPACITY,
    ),
    row(
        "InsufficientVolumeCapacity",
        ErrorKind::PoolEmpty,
        NO_CAPACITY,
    ),
    row("InsufficientCapacity", ErrorKind::PoolEmpty, NO_CAPACITY),
    row(
        "ReservationCapacityExceeded",
        ErrorKind::PoolEmpty,
        NO_CAPACITY,
    ),
    row("UnfulfillableCapacity", ErrorKind::PoolEmpty, NO_CAPACITY),
    row(
        "SpotMaxPriceTooLow",
        ErrorKind::PoolEmpty,
        "the spot price is above the highest we pay",
    ),
    row(
        "Unsupported",
        ErrorKind::PoolEmpty,
        "the zone does not have this type: others are tried",
    ),
    // Quotas: waiting does not help, a person does.
    row(
        "VcpuLimitExceeded",
        ErrorKind::Quota,
        "raise the quota of vCPUs for this market",
    ),
    row(
        "InstanceLimitExceeded",
        ErrorKind::Quota,
        "raise the quota of instances",
    ),
    row(
        "MaxSpotInstanceCountExceeded",
        ErrorKind::Quota,
        "raise the quota of spot instances",
    ),
    row(
        "MaxSpotFleetRequestCountExceeded",
        ErrorKind::Quota,
        "raise the quota of fleets",
    ),
    row(
        "VolumeLimitExceeded",
        ErrorKind::Quota,
        "raise the quota of EBS storage",
    ),
    row(
        "NetworkInterfaceLimitExceeded",
        ErrorKind::Quota,
        "raise the quota of interfaces",
    ),
    row(
        "AddressLimitExceeded",
        ErrorKind::Quota,
        "raise the quota of public addresses",
    ),
    row(
        "ResourceLimitExceeded",
        ErrorKind::Quota,
        "raise the quota that it names",
    ),
    row(
        "ResourceCountExceeded",
        ErrorKind::Quota,
        "raise the quota that it names",
    ),
    row(
        "MaxIOPSLimitExceeded",
        ErrorKind::Quota,
        "raise the quota of provisioned IOPS",
    ),
    // Addresses: a matter of one zone's subnet.
    row(
        "InsufficientFreeAddressesInSubnet",
        ErrorKind::Address,
        NO_ADDRESS,
    ),
    row(
        "InsufficientAddressCapacity",
        ErrorKind::Address,
        NO_ADDRESS,
    ),
    // Throttles say nothing about any pool, wherever they stand.
    row("RequestLimitExceeded", ErrorKind::Throttled, TOO_OFTEN),
    row("EC2ThrottledException", ErrorKind::Throttled, TOO_OFTEN),
    row("Throttling", ErrorKind::Throttled, TOO_OFTEN),
    row("ThrottlingException", ErrorKind::Throttled, TOO_OFTEN),
    row("ThrottledException", ErrorKind::Throttled, TOO_OFTEN),
    row("RequestThrottled", ErrorKind::Throttled, TOO_OFTEN),
    row("RequestThrottledException", ErrorKind::Throttled, TOO_OFTEN),
    row("TooManyRequestsException", ErrorKind::Throttled, TOO_OFTEN),
    row("SlowDown", ErrorKind::Throttled, TOO_OFTEN),
    // AWS failed, perhaps after it had done what was asked.
    row("InternalError", ErrorKind::Unknown, AMBIGUOUS),
    row("InternalFailure", ErrorKind::Unknown, AMBIGUOUS),
    row("InternalServerError", ErrorKind::Unknown, AMBIGUOUS),
    row("Unavailable", ErrorKind::Unknown, AMBIGUOUS),
    row("ServiceUnavailable", ErrorKind::Unknown, AMBIGUOUS),
    row("RequestTimeout", ErrorKind::Unknown, AMBIGUOUS),
    row("RequestTimeoutException", ErrorKind::Unknown, AMBIGUOUS),
    row(
        "IdempotentInstanceTerminated",
        ErrorKind::Unknown,
        AMBIGUOUS,
    ),
    row("ConcurrentTagAccess", ErrorKind::Unknown, AMBIGUOUS),
    // The token was used, so instances of the launch may well exist.
    row("IdempotentParameterMismatch", ErrorKind::Unknown, AMBIGUOUS),
    // States that pass, as of an instance that is still on its way to sleep.
    row("IncorrectInstanceState", ErrorKind::Unknown, PASSING),
    row("IncorrectState", ErrorKind::Unknown, PASSING),
    // Mistakes that stay mistakes.
    row("InvalidAMIID.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidParameter*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidLaunchTemplate*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidSubnetID.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidSubnet", ErrorKind::Config, CANNOT_WORK),
    row("InvalidGroup.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidGroupId.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidSecurityGroupID.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidUserData.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidSnapshot.*", ErrorKind::Config, CANNOT_WORK),
    row("InvalidBlockDeviceMapping", ErrorKind::Config, CANNOT_WORK),
    row(
        "InvalidInstanceID.*",
        ErrorKind::Config,
        "the instance does not exist, or not yet",
    ),
    row("InvalidInstanceType", ErrorKind::Config, CANNOT_WORK),
    row(
        "InvalidInstanceAttributeValue",
        ErrorKind::Config,
        CANNOT_WORK,
    ),
    row("MissingParameter", ErrorKind::Config, CANNOT_WORK),
    row("UnknownParameter", ErrorKind::Config, CANNOT_WORK),
    row("ValidationError", ErrorKind::Config, CANNOT_WORK),
    row(
        "VPCIdNotSpecified",
        ErrorKind::Config,
        "there is no default VPC: name subnets",
    ),
    row(
        "MissingInput",
        ErrorKind::Config,
        "there is no default subnet: name subnets",
    ),
    row("UnsupportedOperation", ErrorKind::Config, CANNOT_WORK),
    row(
        "UnsupportedHibernationConfiguration",
        ErrorKind::Config,
        CANNOT_WORK,
    ),
    row(
        "OperationNotPermitted",
        ErrorKind::Config,
        "it is protected against this",
    ),
    // Not ours to do.
    row("UnauthorizedOperation", ErrorKind::Auth, NOT_ALLOWED),
    row("AccessDenied", ErrorKind::Auth, NOT_ALLOWED),
    row("AccessDeniedException", ErrorKind::Auth, NOT_ALLOWED),
    row("AuthFailure", ErrorKind::Auth, NOT_ACCEPTED),
    row("AuthFailure.*", ErrorKind::Auth, MAY_NOT),
    row("InvalidClientTokenId", ErrorKind::Auth, NOT_ACCEPTED),
    row("UnrecognizedClientException", ErrorKind::Auth, NOT_ACCEPTED),
    row("SignatureDoesNotMatch", ErrorKind::Auth, NOT_ACCEPTED),
    row("RequestExpired", ErrorKind::Auth, RUN_OUT),
    row("ExpiredToken", ErrorKind::Auth, RUN_OUT),
    row("ExpiredTokenException", ErrorKind::Auth, RUN_OUT),
    row(
        "MissingAuthenticationToken",
        ErrorKind::Auth,
        "there are no credentials",
    ),
    row("OptInRequired", ErrorKind::Auth, MAY_NOT),
    row("PendingVerification", ErrorKind::Auth, MAY_NOT),
    row("Blocked", ErrorKind::Auth, MAY_NOT),
];

/// A failed call together with its code, for the few places that must tell codes apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// What it means.
    pub error: ProviderError,
    /// What AWS calls it, if AWS answered.
    pub code: Option<String>,
}

impl Failure {
    /// The same, said of these pools.
    pub(super) fn about(mut self, pools: Vec<Pool>) -> ProviderError {
        self.error.pools = pools;
        self.error
    }

    /// Whether its code begins so.
    pub(super) fn is_about(&self, start: &str) -> bool {
        self.code.as_deref().unwrap_or_default().starts_with(start)
    }

    /// Whether the thing does not exist (any more, or yet).
    pub(super) fn is_not_found(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        code.ends_with(".NotFound") || code.ends_with(".NotFoundException")
    }
}

impl From<Failure> for ProviderError {
    fn from(failure: Failure) -> Self {
        failure.error
    }
}

fn find(code: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| match row.code.strip_suffix('*') {
        Some(start) => code.starts_with(start),
        None => code == row.code,
    })
}

/// An error of our own making.
pub(super) fn refuse(
    operation: &'static str,
    kind: ErrorKind,
    message: impl std::fmt::Display,
) -> ProviderError {
    ProviderError {
        operation,
        kind,
        message: message.to_string(),
        pools: Vec::new(),
    }
}

/// An error by its code, as found inside of a successful answer: AWS blames somebody else there, so
/// a code that nobody knows is the request's fault.
pub(super) fn from_code(operation: &'static str, code: &str, message: &str) -> ProviderError {
    classify(operation, code, message, None)
}

/// An error with its causes, on one line. (The SDK's own way adds its innards.)
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut texts: Vec<String> = Vec::new();
    for text in causes.map(ToString::to_string) {
        // Some repeat their cause.
        if !texts.iter().any(|outer| outer.contains(&text)) {
            texts.push(text);
        }
    }
    let whole = texts.join(": ");
    let lines: Vec<&str> = whole.lines().map(str::trim).collect();
    lines.join("; ")
}

/// What a failed call means. A timeout or a lost connection is `Unknown`: it may have happened.
pub(super) fn from_sdk<E>(operation: &'static str, error: &SdkError<E>) -> Failure
where
    E: std::error::Error + ProvideErrorMetadata + 'static,
{
    let SdkError::ServiceError(service) = error else {
        let kind = if matches!(error, SdkError::ConstructionFailure(_)) {
            ErrorKind::Config
        } else {
            ErrorKind::Unknown
        };
        let error = refuse(operation, kind, chain(error));
        return Failure { error, code: None };
    };
    let status = service.raw().status().as_u16();
    let code = service.err().code();
    let message = service.err().message().unwrap_or_default();
    Failure {
        error: classify(operation, code.unwrap_or_default(), message, Some(status)),
        code: code.map(str::to_owned),
    }
}

fn classify(
    operation: &'static str,
    code: &str,
    message: &str,
    status: Option<u16>,
) -> ProviderError {
    let row = find(code);
    let kind = row.map_or_else(|| kind_by_status(status), |row| row.kind);
    let mut text = if code.is_empty() {
        format!("HTTP status {} without an error code", status.unwrap_or(0))
    } else {
        code.to_owned()
    };
    if !message.is_empty() {
        text = format!("{text}: {message}");
    }
    if let Some(row) = row {
        text = format!("{text} ({})", row.means);
    }
    refuse(operation, kind, text)
}

const fn kind_by_status(status: Option<u16>) -> ErrorKind {
    match status {
        Some(429) => ErrorKind::Throttled,
        Some(401 | 403) => ErrorKind::Auth,
        Some(status) if status >= 500 => ErrorKind::Unknown,
        Some(_) | None => ErrorKind::Config,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_code_stands_twice_and_none_is_hidden_by_a_pattern() {
        let codes: BTreeSet<&str> = TABLE.iter().map(|row| row.code).collect();
        assert_eq!(codes.len(), TABLE.len());
        for row in TABLE {
            let example = row.code.replace('*', "x");
            let found = find(&example).map(|found| found.code);
            assert_eq!(found, Some(row.code), "{example} is caught by another row");
        }
    }

    #[test]
    fn every_kind_has_a_code_and_every_row_a_consequence() {
        for kind in [
            ErrorKind::PoolEmpty,
            ErrorKind::Quota,
            ErrorKind::Address,
            ErrorKind::Throttled,
            ErrorKind::Unknown,
            ErrorKind::Config,
            ErrorKind::Auth,
        ] {
            assert!(TABLE.iter().any(|row| row.kind == kind), "{kind:?}");
        }
        assert!(TABLE.iter().all(|row| !row.means.is_empty()));
    }

    #[test]
    fn codes_mean_what_the_operator_is_told() {
        for (code, kind) in [
            ("InsufficientInstanceCapacity", ErrorKind::PoolEmpty),
            ("VcpuLimitExceeded", ErrorKind::Quota),
            ("InsufficientFreeAddressesInSubnet", ErrorKind::Address),
            ("RequestLimitExceeded", ErrorKind::Throttled),
            ("InternalError", ErrorKind::Unknown),
            ("InvalidAMIID.NotFound", ErrorKind::Config),
            ("InvalidParameterCombination", ErrorKind::Config),
            ("UnauthorizedOperation", ErrorKind::Auth),
        ] {
            assert_eq!(from_code("testing", code, "").kind, kind, "{code}");
        }
    }

    #[test]
    fn causes_are_told_once_and_on_one_line() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Outer(&'static str, #[source] std::io::Error);

        let inner = || std::io::Error::other("refused");
        let told = chain(&Outer("no credentials:\n  file: none", inner()));
        assert_eq!(told, "no credentials:; file: none: refused");
        assert_eq!(chain(&Outer("it was refused", inner())), "it was refused");
    }

    #[test]
    fn an_unknown_code_fails_fast_unless_aws_blames_itself() {
        let kind = |status| classify("testing", "NeverHeardOf", "why", Some(status)).kind;
        assert_eq!(kind(400), ErrorKind::Config);
        assert_eq!(kind(403), ErrorKind::Auth);
        assert_eq!(kind(500), ErrorKind::Unknown);
        let error = from_code("testing", "NeverHeardOf", "why");
        assert_eq!(error.to_string(), "testing: NeverHeardOf: why");
        assert_eq!(error.kind, ErrorKind::Config);
    }
}
