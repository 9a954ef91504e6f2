//! Through a real socket; unpacking needs root.

use super::client::{ClientError, import_file};
use super::*;
use crate::image::Options;
use crate::image::fixture::{Archive, Fixture};

#[tokio::test]
async fn an_archive_goes_through_the_socket_and_a_bad_one_is_told() -> Result<(), Box<dyn std::error::Error>>
{
    let tmp = tempfile::tempdir()?;
    let (socket, file) = (tmp.path().join("images.sock"), tmp.path().join("image.tar"));
    std::fs::write(&socket, b"left over")?;
    let store = ImageStore::open(Options::new(tmp.path().join("store")))?;
    let shutdown = Shutdown::new();
    let serving = serve(store.clone(), None, &socket, shutdown.clone());
    let client = async {
        while tokio::fs::metadata(&socket).await.map_or(true, |m| m.permissions().mode() & 0o777 != 0o600) {
            tokio::task::yield_now().await;
        }
        let fixture = Fixture::new(vec![Archive::new().file("large", &vec![1; 3 << 20]).finish()]);
        std::fs::write(&file, fixture.docker_archive(&["a/b:1"]))?;
        let imported = import_file(&socket, &file).await?;
        assert_eq!(
            imported,
            [Imported { id: fixture.id().to_string(), tags: vec!["docker.io/a/b:1".to_owned()] }]
        );
        std::fs::write(&file, b"no\narchive\xff".repeat(1 << 16))?;
        let refused = import_file(&socket, &file).await.err().ok_or("imported")?;
        assert!(matches!(refused, ClientError::Refused(_)), "{refused}");
        assert_eq!(refused.to_string(), "invalid image archive: archive/tar: invalid tar header");
        assert!(import_file(&socket, &tmp.path().join("missing")).await.is_err());
        shutdown.start();
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    let (served, tested) = tokio::join!(serving, client);
    tested?;
    Ok(served?)
}
