//! A clock that is set forward and back by seconds, hours and days, as NTP or an operator would do it.

use std::time::Duration;

use actix_web::http::Method;
use serde_json::json;
use signet::config::Config;

use crate::browser::{CALLBACK, ada, parameter, redeem, register, request, shop, text};
use crate::grants_fixture::{VERIFIER, World, pair};
use crate::revocation::status;
use crate::shell::{act, signed_in};
use crate::test_app::{TestApp, basic, form, part};

/// By how much verifiers let clocks differ, in seconds.
const SKEW: i64 = 60;
const CODE_LIFETIME: i64 = 60;
const JUMPS: usize = 100;
const DAY: i64 = 86_400;

/// Jumps that anybody can repeat, which stay within two days of the beginning.
fn jumps() -> Vec<i64> {
    let (mut seed, mut offset, mut jumps) = (14_usize, 0_i64, Vec::new());
    while jumps.len() < JUMPS {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let jump = [90, -90, 3600, -3600, DAY, -DAY][(seed >> 33) % 6];
        if (offset + jump).abs() <= 2 * DAY {
            offset += jump;
            jumps.push(jump);
        }
    }
    jumps
}

#[actix_web::test]
async fn no_jump_of_the_clock_revives_or_postdates_anything() {
    let world = World::start().await;
    let app = &world.app;
    let (mut tokens, mut codes) = (Vec::<String>::new(), Vec::<(String, i64)>::new());
    let (mut issued, mut postponed, mut redeemed, mut refused) = (0, 0, 0, 0);
    // Those of the demo client that count, and those that were cut off.
    let (mut own, mut cut_off) = (Vec::<String>::new(), Vec::<String>::new());
    for (number, jump) in jumps().into_iter().enumerate() {
        app.clock.jump_to(app.now() + jump);
        // As the service does within ten seconds.
        app.app.rotate().await.unwrap();
        app.app.replenish().await.unwrap();
        app.app.tidy().await.unwrap();
        let now = app.now();

        for (code, issued_at) in std::mem::take(&mut codes) {
            let answer = world.redeem(&code).await;
            let stands = now <= issued_at + CODE_LIFETIME + SKEW;
            match answer.status {
                200 => {
                    assert!(stands, "jump {number}: a code of {issued_at} at {now}");
                    tokens.push(pair(&answer).0);
                    redeemed += 1;
                }
                400 | 503 => refused += 1,
                _ => panic!("jump {number}: {answer:?}"),
            }
        }
        codes.push((world.code().await, now));

        let answer = app.token(app.demo(), "").await;
        match answer.status {
            200 => {
                tokens.push(answer.access_token());
                own.push(answer.access_token());
                issued += 1;
            }
            503 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                postponed += 1;
            }
            _ => panic!("jump {number}: {answer:?}"),
        }
        let newest = part(tokens.last().unwrap(), 1);
        if answer.status == 200 {
            let iat = newest["iat"].as_i64().unwrap();
            assert!((now - SKEW..=now + SKEW).contains(&iat), "jump {number}: iat {iat} at {now}");
        }

        for token in tokens.iter().rev().take(40) {
            let claims = part(token, 1);
            let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
            // The demo client is the resource; it is told about every token for it.
            if app.is_active(token).await {
                assert!(now < exp + SKEW, "jump {number}: exp {exp} at {now}");
                assert!(iat <= now + SKEW, "jump {number}: iat {iat} at {now}");
            }
        }
        for token in cut_off.iter().rev().take(40) {
            assert!(!app.is_active(token).await, "jump {number}: cut off");
        }
        if number % 10 == 9 {
            cut_off.append(&mut own);
            let body = json!({ "client_id": app.demo().0 });
            let answer = app.administer(Method::POST, "/admin/revocations", Some(body)).await;
            assert_eq!(answer.status, 200, "{answer:?}");
        }
    }
    println!(
        "{JUMPS} jumps: {issued} tokens dated within {SKEW} s, {postponed} refused with 503 until the clock has caught up with \
         a revocation; {redeemed} codes redeemed in time, {refused} refused; none revived"
    );
    assert!(issued > 20 && postponed > 20 && redeemed > 20 && refused > 20, "the jumps were felt");
}

#[actix_web::test]
async fn limits_pass_with_time_and_not_with_the_clock() {
    let app = crate::test_app::TestApp::start_with(|config| config.limits.token_per_client = 3).await;
    for _ in 0..3 {
        app.demo_token().await;
    }
    for jump in [90, -3600, DAY, -DAY] {
        app.clock.jump_to(app.now() + jump);
        assert_eq!(app.token(app.demo(), "").await.status, 429, "{jump}");
        // The keys in use are as fresh as before: what was signed stays good.
        assert_eq!(app.manage("/health/ready").await.status, 200, "{jump}");
    }
    app.pass(Duration::from_mins(1)).await;
    app.demo_token().await;
}

#[actix_web::test]
async fn what_is_allowed_anew_in_the_second_in_which_it_was_taken_back_counts() {
    let app = TestApp::start().await;
    ada(&app).await;
    let shop = register(&app, shop()).await;
    let mut browser = signed_in(&app, "ada@example.com", "/account").await;
    for round in 0..3 {
        let code = parameter(&browser.allow(&app, &request(&[])).await, "code").unwrap();
        let token = redeem(&app, &shop, &code).await["access_token"].as_str().unwrap().to_owned();
        let secret = shop.client_secret.as_ref().unwrap().expose();
        assert!(app.is_active_for(("shop", secret), &token).await);
        // Each act pushes the date on by one second.
        assert_eq!(part(&token, 1)["iat"], app.now() + round);
        let withdrawn = act(&mut browser, &app, "/account/consents", &[("client_id", "shop")]).await;
        assert_eq!(withdrawn.status, 303);
        assert!(!app.is_active_for(("shop", secret), &token).await);
    }
    // Nothing can be dated behind a cut-off that is too far ahead.
    app.clock.jump_to(app.now() - 120);
    let refused = browser.allow(&app, &request(&[])).await;
    assert_eq!(parameter(&refused, "error").as_deref(), Some("temporarily_unavailable"), "{refused:?}");
}

/// Sets the clock, and lets the service do what it does within ten seconds.
async fn jump(app: &TestApp, to: i64) {
    app.clock.jump_to(to);
    app.pass(Duration::ZERO).await;
}

#[actix_web::test]
async fn a_cut_off_covers_what_was_dated_before_the_clock_was_set_back() {
    let restarts: [&[i64]; 3] = [&[], &[0], &[60, 0]];
    for restarts in restarts {
        is_covered_by_a_cut_off(restarts, false).await;
    }
}

/// As where its name is that of a container, which is made anew over the same volume.
#[actix_web::test]
async fn it_covers_that_also_where_the_node_has_another_name_since() {
    let restarts: [&[i64]; 2] = [&[0], &[60, 0]];
    for restarts in restarts {
        is_covered_by_a_cut_off(restarts, true).await;
    }
}

/// Things are dated an hour ahead, and cut off when the clock is set right and the service was started again with the clock so many seconds
/// ahead, each time under another name if it is `renamed`.
async fn is_covered_by_a_cut_off(restarts: &[i64], renamed: bool) {
    let mut app = TestApp::start().await;
    ada(&app).await;
    let shop = register(&app, shop()).await;
    let secret = shop.client_secret.as_ref().unwrap().expose();
    let now = app.now();
    jump(&app, now + 3600).await;
    let mut browser = signed_in(&app, "ada@example.com", "/account").await;
    let asked = request(&[("scope", "openid offline_access read")]);
    let code = parameter(&browser.allow(&app, &asked).await, "code").unwrap();
    let answer = redeem(&app, &shop, &code).await;
    let tokens = ["access_token", "refresh_token"].map(|name| answer[name].as_str().unwrap());
    let waiting = parameter(&browser.get(&app, &asked).await, "code").unwrap();
    // Still without a note of that minute.
    app.clock.advance(Duration::from_secs(50));
    app.app.follow().await.unwrap();
    let late = parameter(&browser.get(&app, &asked).await, "code").unwrap();
    for ahead in restarts {
        app.clock.jump_to(now + ahead);
        let rename = |config: &mut Config| {
            if renamed {
                config.node = format!("node-{ahead}");
            }
        };
        app = app.restart(rename).await;
        jump(&app, now + ahead).await;
    }
    jump(&app, now).await;
    let withdrawn = act(&mut browser, &app, "/account/consents", &[("client_id", "shop")]).await;
    assert_eq!(withdrawn.status, 303);
    for later in [0, 3600] {
        jump(&app, now + later).await;
        for token in tokens {
            assert!(!app.is_active_for(("shop", secret), token).await, "{restarts:?}: {later}");
        }
    }
    for code in [waiting, late] {
        let body = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={CALLBACK}&code_verifier={VERIFIER}"
        );
        let answer = app.send(form("/oauth2/token", &body).insert_header(basic(("shop", secret)))).await;
        answer.refused(400, "invalid_grant");
    }
    // Whoever is let in again is, once the clock has caught up.
    jump(&app, now + 3600 + 5 * 60 + 1).await;
    let code = parameter(&browser.allow(&app, &asked).await, "code").unwrap();
    let again = redeem(&app, &shop, &code).await;
    assert!(app.is_active_for(("shop", secret), again["access_token"].as_str().unwrap()).await);
}

#[actix_web::test]
async fn a_refresh_token_that_is_used_again_after_the_clock_was_set_back_ends_its_family() {
    // As far as two nodes' clocks may differ it is the answer that got lost.
    for (back, is_reuse) in [(14, false), (15, true), (3600, true)] {
        let world = World::start().await;
        let (_, first) = world.tokens().await;
        let (_, second) = pair(&world.refresh(&first).await);
        world.app.clock.jump_to(world.app.now() - back);
        let again = world.refresh(&first).await;
        if is_reuse {
            again.refused(400, "invalid_grant");
            world.refresh(&second).await.refused(400, "invalid_grant");
        } else {
            assert_eq!(pair(&again).1, second);
        }
    }
}

#[actix_web::test]
async fn a_sign_in_of_the_future_is_none_of_late() {
    let app = TestApp::start().await;
    ada(&app).await;
    register(&app, shop()).await;
    let now = app.now();
    app.clock.jump_to(now + 3600);
    let mut browser = signed_in(&app, "ada@example.com", "/account").await;
    assert!(parameter(&browser.allow(&app, &request(&[])).await, "code").is_some());
    let asked = request(&[("max_age", "1000"), ("prompt", "none")]);
    let page = "/account/api-keys";
    // As far as the clocks of nodes may differ, and further.
    for (back, is_late) in [(0, false), (60, false), (61, true), (3600, true)] {
        app.clock.jump_to(now + 3600 - back);
        let answer = browser.get(&app, &asked).await;
        assert_eq!(parameter(&answer, "error").as_deref(), is_late.then_some("login_required"), "{back}");
        let asks = text(&browser.get(&app, page).await).contains("name=\"password\"");
        assert_eq!(asks, is_late, "{back}");
    }
}

#[actix_web::test]
async fn a_status_list_of_the_future_is_signed_anew() {
    let app = TestApp::start().await;
    let now = app.now();
    app.clock.jump_to(now + 600);
    let token = app.demo_token().await;
    assert_eq!(status(&app, &token).await.0["iat"], now + 600);
    app.clock.jump_to(now);
    assert_eq!(status(&app, &token).await.0["iat"], now);
}
