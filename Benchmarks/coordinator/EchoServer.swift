import ControlProtocol
import CoordinatorService
import FlyingSocks
import Foundation

/// Sends back what it gets, over the sockets that the coordinator uses and in the way it uses them.
enum EchoServer {
    static func run(keys: AcceptedKeys) async throws {
        let address: sockaddr_in = try .inet(ip4: "127.0.0.1", port: 0)
        let listening = try ListeningSocket.open(address, limits: .standard)
        FileHandle.standardError.write(Data("listening on \(listening.endpoint)\n".utf8))
        let socket = try AsyncSocket(socket: listening.socket, pool: SocketReadiness.shared)
        try await withThrowingDiscardingTaskGroup { connections in
            while true {
                let client = try await socket.accept()
                try client.socket.setValue(true, for: BoolSocketOption(level: Int32(IPPROTO_TCP), name: TCP_NODELAY))
                connections.addTask {
                    if let stream = try? await SecureStream.accept(client, keys: keys).stream { await echo(stream) }
                    try? client.close()
                }
            }
        }
    }

    private static func echo(_ stream: SecureStream) async {
        while let bytes = try? await stream.read() {
            // A record may not be whole yet.
            if bytes.isEmpty { continue }
            do { try await stream.write(Data(bytes)) } catch { return }
        }
    }
}
