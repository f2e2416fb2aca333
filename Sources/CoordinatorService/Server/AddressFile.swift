import ControlProtocol
import Files
import Foundation

/// A file that says where a coordinator is, for workers that look there (`--coordinator file:PATH`) each time they connect.
public enum AddressFile {
    /// Replaces the file as a whole, so that readers find the old address or the new one.
    /// - Parameter endpoint: where the coordinator listens; when that is all addresses, the machine's name stands for them.
    /// - Throws: `ControlError` with one line for the operator.
    public static func write(_ endpoint: Endpoint, to path: String) throws(ControlError) {
        let host = ["0.0.0.0", "::"].contains(endpoint.host) ? ProcessInfo.processInfo.hostName : endpoint.host
        var status = stat()
        guard stat(path, &status) != 0 || status.st_mode & S_IFMT == S_IFREG else {
            throw ControlError(
                .connectionFailed,
                "cannot write the address to \(path) (--address-file): it is no regular file, which readers would find whole; "
                    + "name another file")
        }
        do throws(FileError) {
            try OutputFile.write("\(Endpoint(host: host, port: endpoint.port))\n", to: path)
        } catch {
            throw ControlError(
                .connectionFailed,
                "cannot write the address to \(path) (--address-file): \(error.reason); \(error.remedy)")
        }
    }
}
