//! A database as a Kubernetes cluster fills it: JSON of some kilobytes, much of which is the same in every object.

use etcd_client::{Client, Txn, TxnOp};

/// etcd takes 128 operations and 1.5 MiB in one transaction.
const PER_TXN: usize = 64;
const IN_FLIGHT: usize = 8;

/// A number that looks random and is the same in every run.
fn scrambled(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// 2 to 10 KiB.
fn object(n: u64) -> String {
    let id = scrambled(n);
    let mut text = format!(
        r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"pod-{n}","namespace":"ns-{}","uid":"{id:016x}-{:016x}","#,
        id % 97,
        scrambled(id)
    );
    let until = 2_048 + id % 8_192;
    let mut at = id;
    while (text.len() as u64) < until {
        at = scrambled(at);
        text.push_str(&format!(
            r#""env-{}":{{"name":"SETTING_{}","valueFrom":{{"secretKeyRef":{{"name":"secret-{at:016x}","optional":false}}}}}},"#,
            at % 40,
            at % 1_000
        ));
    }
    text.push_str("\"phase\":\"Running\"}}");
    text
}

/// Puts objects until their values have `mebibytes`.
pub fn run(endpoint: &str, mebibytes: u64) {
    let objects = crate::block_on(async {
        let tasks = (0..IN_FLIGHT as u64).map(|task| {
            let endpoint = endpoint.to_owned();
            tokio::spawn(async move {
                let mut client = Client::connect([endpoint], None).await.unwrap();
                let (mut bytes, mut n, mut objects) = (0, task, 0);
                while bytes < (mebibytes << 20) / IN_FLIGHT as u64 {
                    let mut puts = Vec::new();
                    for _ in 0..PER_TXN {
                        let value = object(n);
                        bytes += value.len() as u64;
                        puts.push(TxnOp::put(format!("/registry/pods/ns-{}/pod-{n}", n % 97), value, None));
                        n += IN_FLIGHT as u64;
                        objects += 1;
                    }
                    client.txn(Txn::new().and_then(puts)).await.unwrap();
                }
                objects
            })
        });
        let all: Vec<u64> = futures::future::join_all(tasks).await.into_iter().map(Result::unwrap).collect();
        all.into_iter().sum::<u64>()
    });
    println!("objects={objects}");
}
