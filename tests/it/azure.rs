//! A real server of Azure's blob storage on a free port: azurite, Microsoft's own emulator.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_monitor::store::{Store, StoreConfig};

use crate::s3::{free_port, tool};

/// The emulator's one account, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running azurite with one container, `container`. Ends with its handle.
pub struct Azurite {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Azurite {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let program =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/azurite/node_modules/.bin/azurite-blob");
        assert!(program.exists(), "{} is missing: run `make test-deps`", program.display());
        let child = Command::new(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"])
            .arg(folder.path())
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("azurite starts");
        let mut server = Self { child, port, _folder: folder };
        server.wait_until_ready();
        server
    }

    /// Ready means: the container is there. It is made with the signature that Azure asks for.
    fn wait_until_ready(&mut self) {
        let script = format!(
            "import base64, hashlib, hmac, http.client, email.utils\n\
             now = email.utils.formatdate(usegmt=True)\n\
             text = 'PUT\\n' + 11 * '\\n' + f'x-ms-date:{{now}}\\nx-ms-version:2021-08-06\\n' + \
             '/{ACCOUNT}/{ACCOUNT}/container\\nrestype:container'\n\
             sign = base64.b64encode(hmac.new(base64.b64decode('{KEY}'), text.encode(), hashlib.sha256).digest()).decode()\n\
             c = http.client.HTTPConnection('127.0.0.1', {}, timeout=5)\n\
             c.request('PUT', '/{ACCOUNT}/container?restype=container', headers={{'x-ms-date': now, \
             'x-ms-version': '2021-08-06', 'Authorization': f'SharedKey {ACCOUNT}:{{sign}}'}})\n\
             r = c.getresponse()\n\
             assert r.status in (201, 409), (r.status, r.read())\n",
            self.port
        );
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let made = Command::new(tool("python")).args(["-c", &script]).output().expect("python runs");
            if made.status.success() {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("waits") {
                panic!("azurite ended with {status} before it was ready");
            }
            let said = String::from_utf8_lossy(&made.stderr);
            assert!(Instant::now() < deadline, "azurite was not ready in 90 s: {said}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A store under a prefix of its own.
    pub async fn store(&self, prefix: &str) -> Store {
        let config = StoreConfig { url: format!("az://container/{prefix}"), ..StoreConfig::default() };
        let endpoint = format!("http://127.0.0.1:{}/{ACCOUNT}", self.port);
        let env = move |name: &str| match name {
            "AZURE_STORAGE_ACCOUNT_NAME" => Some(ACCOUNT.to_owned()),
            "AZURE_STORAGE_ACCOUNT_KEY" => Some(KEY.to_owned()),
            "AZURE_STORAGE_ENDPOINT" => Some(endpoint.clone()),
            "AZURE_ALLOW_HTTP" => Some("true".to_owned()),
            _ => None,
        };
        Store::open(&config, &env).await.expect("opens")
    }
}
