import ControlProtocol
import FlyingSocks
import Foundation
import TestSupport
import Testing

/// Waits for sockets, ended in each way that there is. A wait that never ends would hang the test.
struct SocketReadinessTests {
    private let readiness = SocketReadiness.shared

    @Test func bothDirectionsOfOneSocketWaitByThemselves() async throws {
        let (here, there) = try Self.pair()
        defer { Self.close(here, there) }
        let reading = Task { try await readiness.suspendSocket(here, untilReadyFor: .read) }
        // The buffer has room, whatever there is to read.
        for _ in 0..<20 { try await readiness.suspendSocket(here, untilReadyFor: .write) }
        _ = try there.write(Data([1]))
        try await reading.value
        #expect(try here.read() == 1)
    }

    @Test func allWhoWaitForOneSocketAreWoken() async throws {
        let (here, there) = try Self.pair()
        defer { Self.close(here, there) }
        try await withThrowingDiscardingTaskGroup { group in
            for _ in 0..<10 { group.addTask { try await readiness.suspendSocket(here, untilReadyFor: .read) } }
            _ = try there.write(Data([1]))
        }
    }

    @Test func aPeerThatGoesEndsTheWait() async throws {
        let (here, there) = try Self.pair()
        defer { Self.close(here) }
        let reading = Task { try await readiness.suspendSocket(here, untilReadyFor: .read) }
        Self.close(there)
        try await reading.value
        #expect(throws: SocketError.disconnected) { try here.read() }
    }

    @Test func cancellationEndsOneWaitAlone() async throws {
        let (here, there) = try Self.pair()
        defer { Self.close(here, there) }
        let cancelled = Task { try await readiness.suspendSocket(here, untilReadyFor: .read) }
        let other = Task { try await readiness.suspendSocket(here, untilReadyFor: .read) }
        cancelled.cancel()
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        _ = try there.write(Data([1]))
        try await other.value
    }

    @Test func whatIsNoSocketIsRefused() async throws {
        let none = Socket(file: .init(rawValue: .max))
        await #expect(throws: SocketError.self) { try await readiness.suspendSocket(none, untilReadyFor: .read) }
    }

    /// What was waited for on a number must neither end nor hang waits for the next socket of that number.
    @Test func numbersOfClosedSocketsAreUsedAgain() async throws {
        let (seed, rounds) = (TestRuns.seed(), 150)
        try await withThrowingDiscardingTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    for round in 0..<rounds {
                        let (here, there) = try Self.pair()
                        let reading = Task {
                            // As soon as it is woken, another socket may get the number.
                            defer { Self.close(here) }
                            try await readiness.suspendSocket(here, untilReadyFor: .read)
                            return try here.read()
                        }
                        // Some waits are cancelled instead, at whatever moment this is.
                        let isCancelled = (seed &+ UInt64(task * rounds + round)) % 5 == 0
                        if isCancelled {
                            reading.cancel()
                            _ = await reading.result
                        } else {
                            _ = try there.write(Data([UInt8(round % 256)]))
                            #expect(try await reading.value == UInt8(round % 256), "seed \(seed), round \(round)")
                        }
                        Self.close(there)
                    }
                }
            }
        }
    }

    /// Two sockets that are connected with each other, non-blocking.
    private static func pair() throws -> (Socket, Socket) {
        var files: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &files) == 0 else {
            throw SocketError.makeFailed("socketpair")
        }
        let sockets = files.map { Socket(file: .init(rawValue: $0)) }
        for socket in sockets { try socket.setFlags(.nonBlocking) }
        return (sockets[0], sockets[1])
    }

    private static func close(_ sockets: Socket...) {
        for socket in sockets { try? socket.close() }
    }
}
