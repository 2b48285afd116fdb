//! A key-encryption key that a PKCS#11 module keeps: what is sealed under it, and what happens when the module is not as
//! it should be.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::object::{Attribute, KeyType, ObjectClass};
use ring::hmac;
use signet::clock::ManualClock;
use signet::config::{ModuleKeyConfig, PinSource};
use signet::entropy::SeededEntropy;
use signet::keys::{
    ArchiveError, ArchiveReader, ArchiveWriter, DataKey, DataKeyError, DirectoryVault, Health, Kek, KeyRing,
    KeyRingError, Rekey, RekeyError, RingUnreadable, SealingKeys, SealingParts, UnsealError, VaultError,
    make_module_key, rekey,
};
use signet::oauth::{Algorithm, ErrorCode, Secret};
use signet::protocol::ProtocolError;
use signet::store::MemoryStore;

use crate::key_ring_fixture::{World, kek as in_file, published, signing};
use crate::softhsm_fixture::{PIN, SoftHsm, TOKEN, in_own_process, load};
use crate::vault_contract::{in_directory, in_store, vault_contract};

fn made(hsm: &SoftHsm, name: &str) -> Arc<Kek> {
    make_module_key(&hsm.config(name)).unwrap();
    Arc::new(load(hsm.config(name)).unwrap())
}

fn refused(config: ModuleKeyConfig) -> String {
    load(config).unwrap_err().to_string()
}

fn blocking<T>(body: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(body)
}

#[test]
fn a_vault_seals_under_it_and_moves_from_and_to_a_file() {
    in_own_process("pkcs11::a_vault_seals_under_it_and_moves_from_and_to_a_file", |hsm| {
        let (one, other) = (made(hsm, "one"), made(hsm, "other"));
        let dir = tempfile::tempdir().unwrap();
        vault_contract(&[one.clone(), other.clone(), in_file(3)], in_directory(dir.path()));
        vault_contract(&[one.clone(), in_file(2), other.clone()], in_directory(dir.path()));
        vault_contract(&[in_file(1), one.clone(), other.clone()], in_directory(dir.path()));
        let store = MemoryStore::new(Arc::new(ManualClock::at(1_700_000_000)));
        let keks = [one, other, in_file(3)];
        blocking(async { tokio::task::spawn_blocking(move || vault_contract(&keks, in_store(store))).await })
            .unwrap();
    });
}

/// Everything that one key-encryption key seals.
struct Installation {
    world: World,
    ring: Arc<KeyRing>,
    sealing: Arc<SealingKeys>,
    data: DataKey,
}

async fn sealing(world: &World) -> Result<Arc<SealingKeys>, KeyRingError> {
    let parts = SealingParts {
        store: world.store.clone(),
        kek: world.kek.clone(),
        clock: world.clock.clone(),
        entropy: Arc::new(SeededEntropy::new(5)),
        fitness: world.fitness.clone(),
    };
    let day = Duration::from_hours(24);
    SealingKeys::open(parts, &world.parts().policy, (day, day)).await
}

async fn data_key(world: &World) -> Result<DataKey, DataKeyError> {
    DataKey::open(world.store.as_ref(), &world.kek, Arc::new(SeededEntropy::new(6))).await
}

async fn opened(world: World) -> Installation {
    let ring = world.open().await;
    let sealing = sealing(&world).await.unwrap();
    let data = data_key(&world).await.unwrap();
    Installation { world, ring, sealing, data }
}

async fn moved(world: &mut World, new: &Arc<Kek>) -> Result<(usize, bool), RekeyError> {
    let keks = Rekey { old: world.kek.clone(), new: new.clone() };
    let entropy = Arc::new(SeededEntropy::new(99));
    let vault = DirectoryVault::open(world.dir.path(), new.clone(), entropy.clone()).unwrap();
    let done = rekey(world.store.as_ref(), Arc::new(vault), &keks, entropy).await?;
    world.kek = new.clone();
    Ok((done.verified, done.ring))
}

#[test]
fn an_installation_moves_into_the_module_and_out_again() {
    in_own_process("pkcs11::an_installation_moves_into_the_module_and_out_again", |hsm| {
        blocking(async {
            let module = made(hsm, "kek");
            let Installation { mut world, ring, sealing: before, data } = opened(World::new()).await;
            let keys = published(&ring);
            let (form, secret) = (before.seal("form", b"hello").unwrap(), data.seal("factor", b"hush"));
            for (new, old) in [(module.clone(), in_file(1)), (in_file(2), module.clone())] {
                assert_eq!(moved(&mut world, &new).await.unwrap(), (2, true));
                let whole = opened(world).await;
                assert_eq!(published(&whole.ring), keys);
                assert_eq!(whole.sealing.open_sealed("form", &form).unwrap().unwrap().as_slice(), b"hello");
                assert_eq!(whole.data.unseal("factor", &secret).unwrap().as_slice(), b"hush");
                // Nothing is left under the old one, and it is told which one is wanted.
                world = World { kek: old.clone(), ..whole.world };
                let Err(KeyRingError::Unreadable(wrong @ RingUnreadable::WrongKek { .. })) =
                    world.try_open().await
                else {
                    panic!("the old one opens the ring")
                };
                assert!(wrong.to_string().contains(&new.id()) && wrong.to_string().contains(&old.id()));
                assert!(matches!(data_key(&world).await, Err(DataKeyError::WrongKek { .. })));
                assert!(sealing(&world).await.is_err());
                world.kek = new;
            }
            world.kek = module.clone();
            assert!(matches!(moved(&mut world, &module).await, Err(RekeyError::Same)));
        });
    });
}

#[test]
fn what_is_derived_is_that_of_sp_800_108_under_the_very_key() {
    in_own_process("pkcs11::what_is_derived_is_that_of_sp_800_108_under_the_very_key", |hsm| {
        let bytes = [0x5e; 32];
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::GENERIC_SECRET),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Label(b"brought".to_vec()),
            Attribute::Id(vec![0x0a, 0xff]),
            Attribute::Value(bytes.to_vec()),
        ];
        hsm.session().create_object(&template).unwrap();
        let kek = load(hsm.config("brought")).unwrap();
        // The counter, the label, a zero byte, no context, 256 bits.
        let message = [&[0, 0, 0, 1][..], b"signet kek id", &[0], &[], &[0, 0, 1, 0]].concat();
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &bytes), &message);
        let digits = derived.as_ref()[..8].iter().map(|byte| format!("{byte:02x}"));
        assert_eq!(kek.id(), digits.collect::<Vec<_>>().concat());
        // By its identifier it is the same key; the same bytes in a file are another one.
        assert!(load(hsm.config("id:0aFF")).unwrap().is_same_as(&kek));
        assert!(!kek.is_same_as(&in_file(0x5e)));
        assert!(!kek.module_key().unwrap().never_outside, "it was brought");
        assert!(made(hsm, "made").module_key().unwrap().never_outside);
        assert_eq!(format!("{kek:?}"), "[redacted]");
    });
}

#[test]
fn what_is_wrong_is_said_with_its_remedy() {
    in_own_process("pkcs11::what_is_wrong_is_said_with_its_remedy", |hsm| {
        hsm.make("kek", &[]);
        load(hsm.config("kek")).unwrap();
        for (key, more, expected) in [
            ("loose", Attribute::Extractable(true), "may leave the module"),
            ("readable", Attribute::Sensitive(false), "can be read in the module"),
            ("mute", Attribute::Sign(false), "may not be used for a MAC"),
            ("short", Attribute::ValueLen(31.into()), "has fewer than 32 bytes"),
        ] {
            hsm.make(key, &[more]);
            let said = refused(hsm.config(key));
            assert!(said.contains(expected) && said.contains("make-module-key"), "{key}: {said}");
        }
        let nowhere = refused(hsm.config("nowhere"));
        assert!(nowhere.contains("has no secret key \"nowhere\""), "{nowhere}");
        hsm.make("twice", &[]);
        hsm.make("twice", &[]);
        assert!(refused(hsm.config("twice")).contains("has 2 secret keys"));
        let present = make_module_key(&hsm.config("kek")).unwrap_err().to_string();
        assert!(present.contains("has a secret key \"kek\" already"), "{present}");

        let absent = refused(ModuleKeyConfig { token: "vault".to_owned(), ..hsm.config("kek") });
        assert!(absent.contains("no token \"vault\", but \"signet\"; correct keys.pkcs11.token"), "{absent}");
        let serial = ModuleKeyConfig { token: hsm.serial(), ..hsm.config("kek") };
        assert!(load(serial.clone()).is_ok());
        hsm.init(TOKEN);
        let several = refused(hsm.config("kek"));
        assert!(several.contains(&format!("name one by its serial number: {}", hsm.serial())), "{several}");
        assert!(load(serial).is_ok());

        for module in ["/nonexistent.so", "/etc/hostname"] {
            let said = refused(ModuleKeyConfig { module: module.into(), ..hsm.config("kek") });
            assert!(said.contains(module) && said.contains("the library can't be loaded"), "{said}");
        }
    });
}

#[test]
fn a_wrong_pin_is_tried_once_and_its_file_must_be_closed() {
    in_own_process("pkcs11::a_wrong_pin_is_tried_once_and_its_file_must_be_closed", |hsm| {
        make_module_key(&hsm.config("kek")).unwrap();
        let with = |pin: PinSource| ModuleKeyConfig { pin, ..hsm.config("kek") };
        let value = |pin: &str| with(PinSource::Value(Secret::new(pin.to_owned())));
        let said = refused(value("0000000"));
        assert!(said.contains("does not take the PIN from SIGNET_KEYS_PKCS11_PIN"), "{said}");
        assert!(!said.contains("0000000"));
        assert!(refused(value("")).contains("does not take the PIN"));
        // From now on the PIN is right, and not tried all the same: a token counts.
        let (right, wrong) = (PIN.into(), "0000000".into());
        hsm.session().set_pin(&right, &wrong).unwrap();
        assert!(refused(value("0000000")).contains("does not take the PIN"));
        hsm.session_with("0000000").set_pin(&wrong, &right).unwrap();

        let file = hsm.dir.join("pin");
        std::fs::write(&file, format!("{PIN}\n")).unwrap();
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        for (bits, accepted) in [(0o600, true), (0o440, true), (0o644, false), (0o620, false)] {
            mode(bits);
            let loaded = load(with(PinSource::File(file.clone())));
            assert_eq!(loaded.is_ok(), accepted, "{bits:o}: {loaded:?}");
        }
        assert!(refused(with(PinSource::File(file))).contains("others may read it"));
        assert!(refused(with(PinSource::File("/nonexistent".into()))).contains("/nonexistent"));
    });
}

#[test]
fn sessions_that_end_are_opened_again() {
    in_own_process("pkcs11::sessions_that_end_are_opened_again", |hsm| {
        let kek = made(hsm, "kek");
        let dir = tempfile::tempdir().unwrap();
        let vault = in_directory(dir.path())(kek);
        let kid = vault.generate(Algorithm::ES256).unwrap().kid().clone();
        let ends: [&dyn Fn(); 3] =
            [&|| hsm.end_sessions(), &|| hsm.end(), &|| hsm.session().logout().unwrap()];
        for end in ends {
            end();
            vault.open(&kid, Algorithm::ES256).unwrap();
        }
    });
}

#[test]
fn a_module_that_is_gone_is_an_error_and_ends_no_signing() {
    in_own_process("pkcs11::a_module_that_is_gone_is_an_error_and_ends_no_signing", |hsm| {
        blocking(async {
            let kek = made(hsm, "kek");
            let Installation { world, ring, sealing: forms, data } =
                opened(World { kek: kek.clone(), ..World::new() }).await;
            let kid = signing(&ring);
            let archive = ArchiveWriter::new(&kek, [1; 32]).unwrap().finish();
            hsm.pull_out();

            // What was opened before goes on, also past the times at which the ring and the sealing keys are read anew.
            world.run(&ring, 8).await;
            assert_eq!(signing(&ring), kid);
            forms.tick().await.unwrap();
            assert!(forms.seal("form", b"hello").is_ok());
            assert!(data.unseal("factor", &data.seal("factor", b"hush")).is_some());

            // Nothing is sealed, and nothing opened that was not open.
            let vault = world.vault();
            assert!(matches!(vault.generate(Algorithm::ES256), Err(VaultError::Kek(_))));
            let opened = vault.open(&kid, Algorithm::ES256).map(drop).unwrap_err();
            assert!(matches!(opened, VaultError::Unseal { reason: UnsealError::Kek(_), .. }), "{opened}");
            assert!(matches!(ArchiveWriter::new(&kek, [1; 32]), Err(ArchiveError::Kek(_))));
            assert!(matches!(ArchiveReader::new(archive.as_slice(), &kek), Err(ArchiveError::Kek(_))));
            assert!(matches!(data_key(&world).await, Err(DataKeyError::Kek(_))));
            let unreadable = sealing(&world).await.map(drop).unwrap_err();
            assert!(matches!(unreadable, KeyRingError::Unreadable(RingUnreadable::Kek(_))), "{unreadable}");
            assert!(unreadable.to_string().contains("has no token \"signet\""), "{unreadable}");
            let mut elsewhere = World { kek: in_file(1), ..World::new() };
            drop(elsewhere.open().await);
            let half = moved(&mut elsewhere, &kek).await;
            assert!(matches!(half, Err(RekeyError::Vault(VaultError::Kek(_)))), "{half:?}");
            // When a next key is due none can be made: that is counted, and this node goes on to sign for longer than P.
            while ring.tick().await.is_ok() {
                world.clock.advance(Duration::from_secs(1));
            }
            for _ in 0..8 {
                world.clock.advance(Duration::from_secs(1));
                let failed = ring.tick().await.unwrap_err();
                assert!(failed.is_of_kek(), "{failed}");
                // Whoever asked for it may ask again.
                assert_eq!(ProtocolError::from(failed).code, ErrorCode::TemporarilyUnavailable);
                signing(&ring);
            }
            assert_eq!(ring.health(), Health::Red { failures: 9, signs: true });
            // Nor a next sealing key.
            world.clock.advance(Duration::from_hours(24));
            for _ in 0..8 {
                world.clock.advance(Duration::from_secs(1));
                assert!(forms.tick().await.unwrap_err().is_of_vault());
                assert!(forms.seal("form", b"hello").is_ok());
            }

            hsm.put_in();
            ring.tick().await.unwrap();
            assert_eq!(ring.health(), Health::Green);
            vault.open(&signing(&ring), Algorithm::ES256).unwrap();
        });
    });
}

#[test]
fn another_key_of_the_same_name_seals_nothing() {
    in_own_process("pkcs11::another_key_of_the_same_name_seals_nothing", |hsm| {
        let kek = made(hsm, "kek");
        let dir = tempfile::tempdir().unwrap();
        let vault = in_directory(dir.path())(kek.clone());
        let kid = vault.generate(Algorithm::ES256).unwrap().kid().clone();
        hsm.delete("kek");
        let other = made(hsm, "kek");
        assert_ne!(other.id(), kek.id());
        for _ in 0..2 {
            let error = vault.generate(Algorithm::ES256).map(drop).unwrap_err();
            assert!(error.to_string().contains("another secret key is called \"kek\" now"), "{error}");
        }
        assert_eq!(vault.list().unwrap().len(), 1, "nothing was sealed under it");
        let renewed = in_directory(dir.path())(other);
        let wrong = renewed.open(&kid, Algorithm::ES256).map(drop).unwrap_err();
        assert!(matches!(wrong, VaultError::Unseal { reason: UnsealError::WrongKek { .. }, .. }), "{wrong}");
        assert!(Path::new(&dir.path().join(format!("{kid}.pending"))).exists());
    });
}
