//! TLS as libpq's `sslmode` means it, by rustls with the ring provider.

use std::path::Path;
use std::sync::Arc;

use dunlin_engine::{ErrorKind, TargetError};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::url::{Endpoint, SslMode};

/// What is verified of the server's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verification {
    Nothing,
    Chain,
    ChainAndName,
}

/// The TLS settings for an endpoint. They are used only where its mode asks for TLS.
pub(crate) fn client_config(endpoint: &Endpoint) -> Result<ClientConfig, TargetError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error(format!("TLS cannot be set up: {error}")))?;
    let verification = verification(endpoint);
    let verifier: Arc<dyn ServerCertVerifier> = match verification {
        Verification::Nothing => Arc::new(AcceptAny { provider }),
        Verification::Chain | Verification::ChainAndName => {
            let roots = Arc::new(roots(endpoint)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, provider)
                .build()
                .map_err(|error| tls_error(format!("the root certificates are no use: {error}")))?;
            if verification == Verification::Chain { Arc::new(ChainOnly { chain }) } else { chain }
        }
    };
    // The verifiers above are libpq's meaning of `prefer`, `require` and `verify-ca`.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    match (&endpoint.ssl_cert, &endpoint.ssl_key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| unreadable("sslkey", key, &error))?;
            builder
                .with_client_auth_cert(certificates("sslcert", cert)?, key)
                .map_err(|error| tls_error(format!("sslcert and sslkey do not fit: {error}")))
        }
        (Some(_), None) => Err(tls_error("sslcert is set without sslkey")),
        (None, Some(_)) => Err(tls_error("sslkey is set without sslcert")),
    }
}

/// As libpq: a root that is named is used also by `require`, but by nothing weaker.
fn verification(endpoint: &Endpoint) -> Verification {
    match endpoint.ssl_mode {
        SslMode::Disable | SslMode::Allow | SslMode::Prefer => Verification::Nothing,
        SslMode::Require if endpoint.ssl_root.is_some() => Verification::Chain,
        SslMode::Require => Verification::Nothing,
        SslMode::VerifyCa => Verification::Chain,
        SslMode::VerifyFull => Verification::ChainAndName,
    }
}

fn roots(endpoint: &Endpoint) -> Result<RootCertStore, TargetError> {
    let mut store = RootCertStore::empty();
    match endpoint.ssl_root.as_deref() {
        Some(file) if file != "system" => {
            for certificate in certificates("sslrootcert", Path::new(file))? {
                store.add(certificate).map_err(|error| {
                    tls_error(format!(
                        "sslrootcert {file} holds a certificate that is no root: {error}"
                    ))
                })?;
            }
        }
        _ => {
            // What cannot be parsed is left out, as every browser does; none at all is an error.
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if store.is_empty() {
                return Err(tls_error("this system has no root certificates").help(
                    "install them (Debian: apt-get install ca-certificates), or name the server's \
                     own with sslrootcert=/path/to/root.crt",
                ));
            }
        }
    }
    Ok(store)
}

fn certificates(parameter: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let all: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(parameter, file, &error))?;
    if all.is_empty() {
        return Err(tls_error(format!("{parameter} {} holds no certificate", file.display()))
            .help("it must be a PEM file with -----BEGIN CERTIFICATE-----"));
    }
    Ok(all)
}

fn unreadable(parameter: &str, file: &Path, error: &rustls_pki_types::pem::Error) -> TargetError {
    tls_error(format!("cannot read {parameter} {}: {error}", file.display()))
}

fn tls_error(message: impl Into<String>) -> TargetError {
    TargetError::new(ErrorKind::Tls, message)
}

/// `prefer` and `require`: encrypted, but any certificate will do.
#[derive(Debug)]
struct AcceptAny {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// `verify-ca`: the chain must lead to a root, the host's name need not fit.
#[derive(Debug)]
struct ChainOnly {
    chain: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for ChainOnly {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is the last thing that the inner verifier looks at: a failure of the name alone
        // means that the chain is good.
        match self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
