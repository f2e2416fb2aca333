import FlyingSocks
import Foundation

/// A connection to the coordinator.
///
/// Several requests may be in flight, from any number of tasks; the coordinator answers those of one connection in the order
/// in which they were sent. When the connection is lost every open request, and every later one, throws `connection_closed`:
/// make a new client then. When the coordinator refused the connection, or sent what cannot be read, the open requests throw
/// that (the next one, when there are none), and only later ones `connection_closed`. The connection is closed by `close`, or
/// when the client goes away.
public final class ControlClient: Sendable {
    public let endpoint: Endpoint
    private let limits: Limits
    private let replies: PendingReplies
    private let outgoing: AsyncStream<Data>.Continuation
    /// Reads and writes the socket, and closes it at its end.
    private let exchange: Task<Void, Never>

    /// - Parameter host: a name, an IPv4 or an IPv6 address.
    /// - Throws: `unresolved_host`, `connection_failed`, `timed_out`, `unauthenticated`.
    public static func connect(
        host: String, port: UInt16, key: ControlKey? = nil, timeout: Duration = .seconds(5),
        limits: Limits = .standard
    ) async throws(ControlError) -> ControlClient {
        try await connect(to: Endpoint(host: host, port: port), key: key, timeout: timeout, limits: limits)
    }

    /// - Parameter key: encrypts the connection, and the coordinator must have it; nil: neither encrypted nor authenticated.
    /// - Throws: `unresolved_host`, `connection_failed`, `timed_out`, `unauthenticated`.
    public static func connect(
        to endpoint: Endpoint, key: ControlKey? = nil, timeout: Duration = .seconds(5), limits: Limits = .standard
    ) async throws(ControlError) -> ControlClient {
        let stream = try await SocketConnector.connect(to: endpoint, key: key, timeout: timeout)
        return ControlClient(endpoint: endpoint, stream: stream, limits: limits)
    }

    private init(endpoint: Endpoint, stream: SecureStream, limits: Limits) {
        self.endpoint = endpoint
        self.limits = limits
        let replies = PendingReplies(limits: limits)
        self.replies = replies
        // Bounded by `requestsInFlight`: each of them has at most one frame here.
        let (frames, outgoing) = AsyncStream.makeStream(of: Data.self)
        self.outgoing = outgoing
        exchange = Task {
            await Self.exchange(over: stream, sending: frames, replies: replies, endpoint: endpoint, limits: limits)
        }
    }

    deinit {
        close()
    }

    /// Whether the connection is over: whether an error that was thrown just before may be of the connection rather than of the
    /// request.
    package var hasEnded: Bool { replies.hasEnded }

    /// Sends a request and waits for its answer.
    ///
    /// After a time-out or a lost connection the coordinator may or may not have taken the request. All requests but
    /// `ProposePlacement` may be sent again: they are applied once.
    /// - Parameter timeout: nil: the answer may take as long as it likes.
    /// - Throws: the coordinator's error; `timed_out`, `connection_closed`, `cancelled`, `overloaded`.
    public func send<Request: ControlRequest>(
        _ request: Request, timeout: Duration? = .seconds(10)
    ) async throws(ControlError) -> Request.Reply {
        let id = try replies.makeID()
        defer { replies.forget(id) }
        let frame = try MessageCodec.frame(request, requestID: id, limits: limits)
        let timer = timeout.map { timeout in
            Task { [replies, endpoint] in
                guard (try? await Task.sleep(for: timeout)) != nil else { return }
                replies.abandon(
                    id, ControlError(.timedOut, "the coordinator at \(endpoint) did not answer within \(timeout)"))
            }
        }
        let outcome = await withTaskCancellationHandler {
            await replies.outcome(of: id) { _ = outgoing.yield(frame) }
        } onCancel: {
            replies.abandon(id, ControlError(.cancelled, "the request was cancelled"))
        }
        timer?.cancel()
        return try MessageCodec.reply(outcome.get(), as: Request.Reply.self)
    }

    /// Ends the connection; open requests throw `connection_closed`.
    public func close() {
        replies.end(.closed(endpoint, "it was closed by this program"))
        outgoing.finish()
        exchange.cancel()
    }

    private static func exchange(
        over stream: SecureStream, sending frames: AsyncStream<Data>, replies: PendingReplies, endpoint: Endpoint,
        limits: Limits
    ) async {
        await withTaskGroup { group in
            group.addTask {
                do {
                    for await frame in frames { try await stream.write(frame) }
                } catch {
                    replies.end(.closed(endpoint, SocketConnector.describe(error)))
                }
            }
            group.addTask {
                await receive(from: stream, replies: replies, endpoint: endpoint, limits: limits)
            }
            // Whichever ends first ends the other; the socket must not be closed while one waits for it.
            await group.next()
            group.cancelAll()
        }
        stream.close()
    }

    private static func receive(
        from stream: SecureStream, replies: PendingReplies, endpoint: Endpoint, limits: Limits
    ) async {
        var decoder = FrameDecoder(limits: limits)
        do {
            while true {
                decoder.append(try await stream.read())
                while let payload = try decoder.next() {
                    guard let id = try MessageCodec.requestID(ofReply: payload) else {
                        // The coordinator could not tell which request it refuses, so it refuses the connection.
                        throw try MessageCodec.reply(payload, as: ErrorReply.self).error
                    }
                    replies.resolve(id, .success(payload))
                }
            }
        } catch let error as ControlError {
            replies.end(error)
        } catch SocketError.disconnected {
            replies.end(.closed(endpoint, "the coordinator closed it"))
        } catch {
            replies.end(.closed(endpoint, SocketConnector.describe(error)))
        }
    }
}

extension ControlError {
    fileprivate static func closed(_ endpoint: Endpoint, _ reason: String) -> ControlError {
        ControlError(.connectionClosed, "the connection to the coordinator at \(endpoint) is closed: \(reason)")
    }
}
