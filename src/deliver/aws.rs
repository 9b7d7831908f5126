//! Requests that AWS takes: credentials and Signature Version 4.
//!
//! Source: AWS General Reference, "Create a signed AWS API request". A request here is a POST without a query,
//! which is all that SES and SNS need; that is why no SDK is in the tree.

use chrono::DateTime;
use reqwest::{RequestBuilder, Url};
use ring::{digest, hmac};
use secrecy::{ExposeSecret, SecretString};

use super::config::Resolve;
use crate::model::SecretRef;

/// Who signs. Left out of the configuration, they are what Lambda and most tools put into the environment.
pub(super) struct Credentials {
    access_key_id: SecretString,
    secret_access_key: SecretString,
    session_token: Option<SecretString>,
}

impl Credentials {
    /// Both keys from the configuration, or all three parts from the `AWS_*` variables.
    pub(super) fn resolve(
        keys: (&Option<SecretRef>, &Option<SecretRef>),
        session_token: &Option<SecretRef>,
        resolve: Resolve<'_>,
    ) -> Result<Self, String> {
        let variable = |name: &str| SecretRef::Env(name.to_owned());
        match keys {
            (Some(id), Some(secret)) => Ok(Self {
                access_key_id: resolve(id)?,
                secret_access_key: resolve(secret)?,
                session_token: session_token.as_ref().map(resolve).transpose()?,
            }),
            (None, None) => Ok(Self {
                access_key_id: resolve(&variable("AWS_ACCESS_KEY_ID"))?,
                secret_access_key: resolve(&variable("AWS_SECRET_ACCESS_KEY"))?,
                // Only temporary credentials have one.
                session_token: resolve(&variable("AWS_SESSION_TOKEN")).ok(),
            }),
            _ => Err("access-key-id and secret-access-key go together".to_owned()),
        }
    }

    /// Adds the headers that prove who sent it. `now_ms`: since the epoch; AWS takes 5 minutes of difference.
    pub(super) fn sign(&self, request: RequestBuilder, scope: &Scope<'_>, now_ms: i64) -> RequestBuilder {
        let time = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
        let date = time.format("%Y%m%dT%H%M%SZ").to_string();
        let authorization = self.authorization(scope, &date);
        let mut request = request
            .header("content-type", scope.content_type)
            .header("x-amz-date", &date)
            .header("authorization", authorization);
        if let Some(token) = &self.session_token {
            request = request.header("x-amz-security-token", token.expose_secret());
        }
        request.body(scope.body.to_owned())
    }

    fn authorization(&self, scope: &Scope<'_>, date: &str) -> String {
        let day = date.get(..8).unwrap_or_default();
        let mut headers = vec![
            ("content-type", scope.content_type.to_owned()),
            ("host", host(scope.url)),
            ("x-amz-date", date.to_owned()),
        ];
        if let Some(token) = &self.session_token {
            headers.push(("x-amz-security-token", token.expose_secret().to_owned()));
        }
        let signed = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let headers: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let hash = sha256(scope.body);
        let canonical = format!("POST\n{}\n\n{headers}\n{signed}\n{hash}", scope.url.path());
        let range = format!("{day}/{}/{}/aws4_request", scope.region, scope.service);
        let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{range}\n{}", sha256(&canonical));
        let secret = format!("AWS4{}", self.secret_access_key.expose_secret());
        let key = [day, scope.region, scope.service, "aws4_request"]
            .iter()
            .fold(secret.into_bytes(), |key, part| mac(&key, part));
        let signature = hexadecimal(&mac(&key, &to_sign));
        let id = self.access_key_id.expose_secret();
        format!("AWS4-HMAC-SHA256 Credential={id}/{range}, SignedHeaders={signed}, Signature={signature}")
    }
}

/// What a signature speaks of.
pub(super) struct Scope<'a> {
    pub(super) url: &'a Url,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a str,
}

fn host(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn sha256(text: &str) -> String {
    hexadecimal(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The case `post-x-www-form-urlencoded` of AWS' Signature Version 4 test suite.
    #[test]
    fn signs_as_the_test_suite_of_aws_does() {
        let credentials = Credentials {
            access_key_id: SecretString::from("AKIDEXAMPLE"),
            secret_access_key: SecretString::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: None,
        };
        let scope = Scope {
            url: &"https://example.amazonaws.com/".parse().expect("a URL"),
            region: "us-east-1",
            service: "service",
            content_type: "application/x-www-form-urlencoded",
            body: "Param1=value1",
        };
        assert_eq!(
            credentials.authorization(&scope, "20150830T123600Z"),
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
        );
    }
}
