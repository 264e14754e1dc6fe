//! Keeps other sites' pages away from a server that asks for no tokens.
//!
//! A page in the operator's browser can send requests to `127.0.0.1`. Two checks stop it: the `Host`
//! must be a name of this machine (a foreign name that was rebound to 127.0.0.1 is not), and a
//! request with an `Origin` must come from this very server. Programs send no `Origin`.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Uri, header, uri::Authority};

use super::error::ApiError;

/// Whether a request to an open server comes from this machine and not from another site's page.
pub(super) fn check(headers: &HeaderMap, uri: &Uri) -> Result<(), ApiError> {
    let host = text(headers, &header::HOST)
        .or_else(|| uri.authority().map(Authority::as_str))
        .ok_or_else(|| ApiError::Foreign("the request names no host".to_owned()))?;
    if !is_this_machine(host) {
        return Err(ApiError::Foreign(format!(
            "{host:?} is not a name of this machine"
        )));
    }
    match text(headers, &header::ORIGIN) {
        Some(origin) if !is_same_site(origin, host) => Err(ApiError::Foreign(format!(
            "the request comes from a page of {origin:?}"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// A header as text; one that is not text is as bad as a wrong one.
fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or(""))
}

fn is_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else {
        return false;
    };
    let name = authority.host();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether `origin` is this server as the client calls it; `null` is nobody.
fn is_same_site(origin: &str, host: &str) -> bool {
    origin
        .strip_prefix("http://")
        .or_else(|| origin.strip_prefix("https://"))
        .is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check(&headers, &Uri::from_static("/")).is_ok()
    }

    #[test]
    fn only_names_of_this_machine_pass() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:8080",
            "[::1]:80",
            "127.9.9.9",
        ] {
            assert!(verdict(host, None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:8080",
            "10.0.0.1",
            "",
            "a b",
        ] {
            assert!(!verdict(host, None), "{host}");
        }
        assert!(check(&HeaderMap::new(), &Uri::from_static("/")).is_err());
    }

    #[test]
    fn only_pages_of_this_server_pass() {
        assert!(verdict("localhost:8080", Some("http://localhost:8080")));
        for origin in [
            "http://evil.example",
            "http://localhost:3000",
            "null",
            "localhost:8080",
        ] {
            assert!(!verdict("localhost:8080", Some(origin)), "{origin}");
        }
    }
}
