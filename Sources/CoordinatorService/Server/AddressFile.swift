import ControlProtocol
import Foundation

/// A file that says where a coordinator is, for workers that look there (`--coordinator file:PATH`) each time they connect.
public enum AddressFile {
    /// Replaces the file as a whole, so that readers find the old address or the new one.
    /// - Parameter endpoint: where the coordinator listens; when that is all addresses, the machine's name stands for them.
    /// - Throws: `ControlError` with one line for the operator.
    public static func write(_ endpoint: Endpoint, to path: String) throws(ControlError) {
        let host = ["0.0.0.0", "::"].contains(endpoint.host) ? ProcessInfo.processInfo.hostName : endpoint.host
        let text = Data("\(Endpoint(host: host, port: endpoint.port))\n".utf8)
        let partial = "\(path).\(UUID().uuidString).partial"
        do {
            try text.write(to: URL(fileURLWithPath: partial))
            try DurableFile.sync(partial)
            guard rename(partial, path) == 0 else { throw FileError(path) }
            try DurableFile.sync(URL(fileURLWithPath: path).deletingLastPathComponent().path)
        } catch {
            unlink(partial)
            let reason = (error as? FileError)?.description ?? error.localizedDescription
            throw ControlError(.connectionFailed, "cannot write the address to \(path) (--address-file): \(reason)")
        }
    }
}
