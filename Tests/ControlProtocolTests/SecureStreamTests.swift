import ControlProtocol
import ControlTestSupport
import FlyingSocks
import Foundation
import TestSupport
import Testing

/// Both ends of encrypted connections, over socket pairs of the system.
struct SecureStreamTests {
    private static let limit = 65_519

    private let keys: KeyFolder

    init() throws { keys = try KeyFolder() }

    private func socketPair() throws -> (AsyncSocket, AsyncSocket) {
        var descriptors: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &descriptors) == 0 else {
            throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO)
        }
        return (try asynchronous(descriptors[0]), try asynchronous(descriptors[1]))
    }

    private func asynchronous(_ descriptor: Int32) throws -> AsyncSocket {
        try AsyncSocket(socket: Socket(file: .init(rawValue: descriptor)), pool: SocketReadiness.shared)
    }

    private func streams() async throws -> (client: SecureStream, server: SecureStream) {
        let (left, right) = try socketPair()
        let accepting = try accept(right)
        let client = try await initiate(left)
        return (client, try await accepting.value.stream)
    }

    private func accept(_ socket: AsyncSocket) throws -> Task<
        (stream: SecureStream, roles: Set<ControlRole>), any Error
    > {
        let accepted = try keys.accepted(["key"])
        return Task { try await SecureStream.accept(socket, keys: accepted) }
    }

    private func initiate(_ socket: AsyncSocket) async throws -> SecureStream {
        let key = try keys.key("key")
        return try await SecureStream.initiate(over: socket, to: Endpoint(host: "test", port: 1), key: key)
    }

    /// Writes pieces of these sizes at one end and expects them at the other, whatever records they went in.
    private func exchange(_ sizes: [Int], from writer: SecureStream, to reader: SecureStream, seed: UInt64) async throws
    {
        var random = SeededGenerator(seed: seed)
        let pieces = sizes.map { size in
            var piece = Data(count: size)
            for index in stride(from: 0, to: size, by: 97) { piece[index] = UInt8.random(in: 0...255, using: &random) }
            return piece
        }
        let whole = pieces.reduce(Data(), +)
        let writing = Task { for piece in pieces { try await writer.write(piece) } }
        var received = Data()
        while received.count < whole.count { received += try await reader.read() }
        try await writing.value
        #expect(received == whole, "seed \(seed), sizes \(sizes)")
        #expect(reader.pendingBytes == 0)
    }

    /// A record holds 65,519 bytes; more go in several.
    @Test func everySizeAroundARecord() async throws {
        let seed = TestRuns.seed()
        let (client, server) = try await streams()
        defer {
            client.close()
            server.close()
        }
        for size in Array(Self.limit - 20...Self.limit + 20) + Array(65_530...65_540) + [0, 1, 2, 16, 17] {
            try await exchange([size], from: client, to: server, seed: seed)
            try await exchange([size], from: server, to: client, seed: seed)
        }
        for factor in 2...5 {
            for size in factor * Self.limit - 1...factor * Self.limit + 1 {
                try await exchange([size], from: client, to: server, seed: seed)
            }
        }
    }

    @Test func randomSizesBothWaysAtOnce() async throws {
        let seed = TestRuns.seed()
        var random = SeededGenerator(seed: seed)
        let (client, server) = try await streams()
        defer {
            client.close()
            server.close()
        }
        for round in 0..<20 {
            let sizes = (0..<2).map { _ in
                (0..<Int.random(in: 1...6, using: &random)).map { _ in
                    Int.random(in: 0...[40, 5_000, 200_000].randomElement(using: &random)!, using: &random)
                }
            }
            try await withThrowingTaskGroup { group in
                group.addTask { try await exchange(sizes[0], from: client, to: server, seed: seed &+ UInt64(round)) }
                group.addTask { try await exchange(sizes[1], from: server, to: client, seed: seed &+ UInt64(round)) }
                try await group.waitForAll()
            }
        }
    }

    @Test func nothingOfTheTextIsOnTheWire() async throws {
        let (left, right) = try socketPair()
        let accepting = try accept(right)
        let client = try await initiate(left)
        let (server, roles) = try await accepting.value
        #expect(roles == [.worker, .operator])
        #expect(!server.isConfirmed)
        let text = Data("the same text twice".utf8)
        try await client.write(text)
        try await client.write(text)
        let first = try await right.read(bytes: 2 + text.count + 16)
        let second = try await right.read(bytes: 2 + text.count + 16)
        #expect(first[..<2] == [0, UInt8(text.count + 16)])
        #expect(first != second)
        #expect(Data(first).range(of: Data("text".utf8)) == nil)
        client.close()
        server.close()
    }

    /// The plain stream's frames are what comes out of records, so their decoder may be fed any piece.
    @Test func framesGoThroughAnyRecords() async throws {
        let (client, server) = try await streams()
        defer {
            client.close()
            server.close()
        }
        let frames = try (0..<3).map { try MessageCodec.frame(Samples.registerRun(), requestID: $0) }
        let bytes = frames.reduce(Data(), +)
        for size in [1, 7, bytes.count / 2, bytes.count] {
            let writing = Task {
                for start in stride(from: 0, to: bytes.count, by: size) {
                    try await client.write(bytes[start..<min(start + size, bytes.count)])
                }
            }
            var decoder = FrameDecoder()
            var ids: [Int?] = []
            while ids.count < 3 {
                decoder.append(try await server.read())
                while let payload = try decoder.next() { ids.append(MessageCodec.request(payload).requestID) }
            }
            try await writing.value
            #expect(ids == [0, 1, 2])
        }
    }
}
