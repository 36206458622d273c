use super::*;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tokio_test::{assert_pending, assert_ready, task};

/// Frames one by one; `None` is a moment when none has come yet.
#[derive(Debug)]
struct Script(VecDeque<Option<Frame<Bytes>>>);

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(None) => Poll::Pending,
            Some(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(
            self.0.iter().flatten().filter_map(|frame| frame.data_ref()).map(Bytes::len).sum::<usize>()
                as u64,
        )
    }
}

fn poll<B: Body + Unpin>(body: &mut ReplayBody<B>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B::Error: Into<BoxError>,
{
    task::spawn(()).enter(|cx, _| Pin::new(body).poll_frame(cx))
}

/// What the body gives until it ends: data, then trailers.
fn drain(body: &mut ReplayBody<Script>) -> (Vec<u8>, Option<HeaderMap>) {
    let (mut data, mut trailers) = (Vec::new(), None);
    loop {
        let left = body.size_hint().exact().unwrap();
        let ended = body.is_end_stream();
        match poll(body) {
            Poll::Pending => assert!(!ended),
            Poll::Ready(None) => {
                assert_eq!(left, 0);
                assert!(body.is_end_stream());
                return (data, trailers);
            }
            Poll::Ready(Some(frame)) => {
                assert!(!ended);
                match frame.unwrap().into_data() {
                    Ok(piece) => {
                        assert_eq!(body.size_hint().exact(), Some(left - piece.len() as u64));
                        data.extend_from_slice(&piece);
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                }
            }
        }
    }
}

proptest! {
    /// However far each attempt got before the next one began.
    #[test]
    fn every_attempt_sends_the_whole_body(
        pieces in prop::collection::vec(prop::option::of(0usize..3000), 0..12),
        with_trailers: bool,
        polls in prop::collection::vec(0usize..16, 0..4),
    ) {
        let mut frames: VecDeque<_> = (0u8..).zip(&pieces).map(|(byte, len)| {
            len.map(|len| Frame::data(Bytes::from(vec![byte; len])))
        }).collect();
        let whole: Vec<u8> = frames.iter().flatten().flat_map(|frame| frame.data_ref().unwrap().to_vec()).collect();
        let trailers = with_trailers.then(|| HeaderMap::from_iter([(http::header::ETAG, "x".parse().unwrap())]));
        frames.extend(trailers.clone().map(|trailers| Some(Frame::trailers(trailers))));

        let (recording, mut body) = Recording::new(Script(frames));
        for polls in polls {
            for _ in 0..polls {
                if !body.is_end_stream() {
                    let _ = poll(&mut body);
                }
            }
            let before = std::mem::replace(&mut body, recording.again().unwrap());
            let mut before = before;
            if before.tape.is_some() {
                prop_assert!(!before.is_end_stream());
                prop_assert!(matches!(poll(&mut before), Poll::Ready(Some(Err(_)))));
            }
        }
        prop_assert_eq!(drain(&mut body), (whole, trailers));
    }
}

fn stream() -> (
    mpsc::UnboundedSender<Bytes>,
    StreamBody<impl futures_util::Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin>,
) {
    use futures_util::StreamExt;
    let (sender, receiver) = mpsc::unbounded_channel();
    let frames = UnboundedReceiverStream::new(receiver).map(|data: Bytes| Ok(Frame::data(data)));
    (sender, StreamBody::new(frames))
}

#[test]
fn an_attempt_that_waits_learns_that_it_is_over() {
    let (sender, source) = stream();
    let (recording, first) = Recording::new(source);
    let mut first = task::spawn(first.collect());
    sender.send("half, ".into()).unwrap();
    assert_pending!(first.poll());
    let mut second = task::spawn(recording.again().unwrap().collect());
    assert!(first.is_woken());
    let error = assert_ready!(first.poll()).unwrap_err();
    assert!(error.to_string().contains("another instance"), "{error}");

    assert_pending!(second.poll());
    sender.send("whole".into()).unwrap();
    drop(sender);
    assert!(second.is_woken());
    assert_eq!(assert_ready!(second.poll()).unwrap().to_bytes(), "half, whole");
}

#[test]
fn a_body_past_the_bound_is_passed_on_but_not_kept() {
    for (sizes, kept) in [
        (&[RECORDED_BYTES_MAX][..], true),
        (&[RECORDED_BYTES_MAX / 2, RECORDED_BYTES_MAX / 2], true),
        (&[RECORDED_BYTES_MAX + 1], false),
        (&[RECORDED_BYTES_MAX, 1, 5], false),
        (&[0; RECORDED_FRAMES_MAX + 1], false),
    ] {
        let frames = sizes.iter().map(|&size| Some(Frame::data(Bytes::from(vec![7; size])))).collect();
        let (recording, mut body) = Recording::new(Script(frames));
        let (data, _) = drain(&mut body);
        assert_eq!(data.len(), sizes.iter().sum::<usize>());
        assert_eq!(recording.is_whole().is_ok(), kept, "{} frames", sizes.len());
        assert_eq!(recording.again().err(), (!kept).then_some(Stopped::TooLong));
        assert_eq!(lock(body.tape.as_ref().unwrap()).frames.is_empty(), !kept);
    }
}

#[test]
fn once_an_answer_has_come_nothing_more_is_kept() {
    let (sender, source) = stream();
    let (recording, mut body) = Recording::new(source);
    sender.send("a".into()).unwrap();
    assert_ready!(poll(&mut body));
    recording.stop();
    sender.send("b".into()).unwrap();
    assert_ready!(poll(&mut body));
    assert!(lock(body.tape.as_ref().unwrap()).frames.is_empty());
    sender.send("c".into()).unwrap();
    drop(sender);
    assert_eq!(assert_ready!(task::spawn(body.collect()).poll()).unwrap().to_bytes(), "c");
}

#[test]
fn a_body_that_fails_is_not_sent_again() {
    let failing =
        StreamBody::new(tokio_stream::iter([Err::<Frame<Bytes>, _>(std::io::Error::other("torn"))]));
    let (recording, mut body) = Recording::new(failing);
    let error = assert_ready!(poll(&mut body)).unwrap().unwrap_err();
    assert_eq!(error.to_string(), "torn");
    assert_eq!(recording.again().err(), Some(Stopped::Failed));
}

#[test]
fn an_empty_body_is_empty_in_every_attempt() {
    let (recording, first) = Recording::new(Empty::<Bytes>::new());
    let second = recording.again().unwrap();
    for body in [first, second] {
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(assert_ready!(task::spawn(body.collect()).poll()).unwrap().to_bytes().is_empty());
    }
    let (_, body) = Recording::new(Full::new(Bytes::from_static(b"x")));
    assert!(!body.is_end_stream());
    assert_eq!(body.size_hint().exact(), Some(1));
}
