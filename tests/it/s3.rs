//! Real S3-compatible servers on free ports, and the Python tools that the tests share.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_monitor::store::{S3Config, Store, StoreConfig};

/// A tool of the tests' Python environment.
pub fn tool(name: &str) -> PathBuf {
    let venv = std::env::var_os("ETCD_MONITOR_TEST_VENV")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv"), PathBuf::from);
    let tool = venv.join("bin").join(name);
    assert!(tool.exists(), "{} is missing: run `make test-deps`", tool.display());
    tool
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// A running S3 server with one bucket, `bucket`. Ends with its handle.
pub struct S3Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What opens the servers' doors.
pub const CREDENTIALS: [(&str, &str); 2] =
    [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
const ACCESS_KEY: &str = "test";
const SECRET_KEY: &str = "testsecret";

impl S3Server {
    /// moto: AWS' answers to the letter, in memory.
    pub fn moto() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut command = Command::new(tool("moto_server"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        Self::start(command, port, folder)
    }

    /// SeaweedFS: checks signatures and keeps objects on disk.
    pub fn seaweed() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let mut command = Command::new(tool("weed"));
        command.arg("mini").args(["-ip", "127.0.0.1", "-ip.bind", "127.0.0.1", "-dir"]).arg(folder.path());
        for (flag, port) in [
            ("master.port", free_port()),
            ("master.port.grpc", free_port()),
            ("volume.port", free_port()),
            ("volume.port.grpc", free_port()),
            ("filer.port", free_port()),
            ("filer.port.grpc", free_port()),
            ("s3.port", port),
            ("s3.port.grpc", free_port()),
        ] {
            command.arg(format!("-{flag}={port}"));
        }
        command.args(["-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-bucket=bucket"]);
        command.current_dir(folder.path());
        Self::start(command, port, folder)
    }

    fn start(mut command: Command, port: u16, folder: tempfile::TempDir) -> Self {
        let child = command
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let mut server = Self { child, port, _folder: folder };
        server.wait_until_ready();
        server
    }

    /// Ready means: the bucket is there, as the AWS SDK sees it.
    fn wait_until_ready(&mut self) {
        let script = format!(
            "{}\n\
             try: c.create_bucket(Bucket='bucket')\n\
             except Exception: pass\n\
             c.put_object(Bucket='bucket', Key='ready', Body=b'x')\n",
            self.boto()
        );
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let ready = Command::new(tool("python"))
                .args(["-c", &script])
                .stderr(Stdio::null())
                .status()
                .expect("python runs")
                .success();
            if ready {
                return;
            }
            if let Some(status) = self.child.try_wait().expect("waits") {
                panic!("the S3 server ended with {status} before it was ready");
            }
            assert!(Instant::now() < deadline, "the S3 server was not ready in 90 s");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Python that makes `c`, the AWS SDK's client of this server.
    pub fn boto(&self) -> String {
        format!(
            "import boto3, botocore.config\n\
             c = boto3.client('s3', endpoint_url='http://127.0.0.1:{}', region_name='us-east-1',\n\
             \x20aws_access_key_id='{ACCESS_KEY}', aws_secret_access_key='{SECRET_KEY}',\n\
             \x20config=botocore.config.Config(retries={{'max_attempts': 0}}, connect_timeout=2, read_timeout=5))",
            self.port
        )
    }

    /// `[store]` as configuration writes it, for `bucket/prefix`.
    pub fn toml(&self, bucket_and_prefix: &str) -> String {
        format!(
            "[store]\nurl = 's3://{bucket_and_prefix}'\n\
             s3 = {{ endpoint = 'http://127.0.0.1:{}', region = 'us-east-1', allow-http = true }}\n",
            self.port
        )
    }

    /// `[[backup.destination]]` as configuration writes it.
    pub fn destination(&self, name: &str, bucket_and_prefix: &str) -> String {
        self.toml(bucket_and_prefix).replace("[store]", &format!("[[backup.destination]]\nname = '{name}'"))
    }

    /// A store under a prefix of its own.
    pub async fn store(&self, prefix: &str) -> Store {
        self.store_in("bucket", prefix).await
    }

    /// The same in another bucket.
    pub async fn store_in(&self, bucket: &str, prefix: &str) -> Store {
        let config = StoreConfig {
            url: format!("s3://{bucket}/{prefix}"),
            s3: S3Config {
                endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
                region: Some("us-east-1".to_owned()),
                allow_http: true,
                ..S3Config::default()
            },
            ..StoreConfig::default()
        };
        let env = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some(ACCESS_KEY.to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some(SECRET_KEY.to_owned()),
            _ => None,
        };
        Store::open(&config, &env).await.expect("opens")
    }
}
