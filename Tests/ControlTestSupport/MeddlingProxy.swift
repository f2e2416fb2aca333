import Foundation
import Synchronization

/// Passes one connection on to a server, keeps what the client says, and changes one bit on the way.
public final class MeddlingProxy: Sendable {
    public enum Direction: Sendable { case toServer, toClient }

    /// The bit of the byte at `offset` of one direction.
    public struct Change: Sendable {
        let direction: Direction
        let offset: Int
        let bit: Int

        public init(_ direction: Direction, offset: Int, bit: Int) {
            self.direction = direction
            self.offset = offset
            self.bit = bit
        }
    }

    private let server: ScriptedServer
    private let recorded: Recording

    private final class Recording: Sendable {
        let bytes = Mutex<[Direction: Data]>([:])
    }

    public var port: UInt16 { server.port }

    /// What went by so far, as it came.
    public func bytes(_ direction: Direction) -> Data { recorded.bytes.withLock { $0[direction] ?? Data() } }

    public init(to port: UInt16, changing change: Change? = nil) throws {
        let recorded = Recording()
        self.recorded = recorded
        server = try ScriptedServer { client in
            let upstream = try PlainClient(port: port)
            var ends = [
                pollfd(fd: client.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: upstream.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            while poll(&ends, 2, -1) > 0 {
                for (index, direction) in [Direction.toServer, .toClient].enumerated() where ends[index].revents != 0 {
                    let count = recv(ends[index].fd, &buffer, buffer.count, 0)
                    // Both ends hang up together.
                    guard count > 0 else { return }
                    var bytes = Data(buffer[..<count])
                    let before = recorded.bytes.withLock { all in
                        defer { all[direction, default: Data()] += bytes }
                        return all[direction]?.count ?? 0
                    }
                    if let change, change.direction == direction, (before..<before + count).contains(change.offset) {
                        bytes[change.offset - before] ^= 1 << UInt8(change.bit)
                    }
                    if direction == .toServer { try upstream.send(bytes) } else { try client.send(bytes) }
                }
            }
        }
    }
}
