import ControlProtocol
import Foundation
import Testing
import WorkerRuntime

@Suite struct OpenMPIServerTests {
    @Test(
        arguments: [
            ("666632192.0;tcp://192.0.2.2:48089;tcp6://[fd00::2]:54359\n", ["192.0.2.2:48089", "[fd00::2]:54359"]),
            ("1.0;tcp://10.0.0.1,10.0.1.1:5\n12 pid\n", ["10.0.0.1:5", "10.0.1.1:5"]),
            // What cannot be read is left to Open MPI.
            ("1.0", []), ("tcp://", []), (";tcp://:", []), (";tcp://a:99999", []), (";://:1", []), (";", []),
            ("ü;ü://ü:1", ["ü:1"]),
        ]) func contactDataHaveAddresses(contact: String, addresses: [String]) throws
    {
        let server = try OpenMPIServer(environment: ["OMPI_MCA_pmix_server_uri": contact])
        #expect(server.endpoints.map(\.description) == addresses)
        let file = FileManager.default.temporaryDirectory.appending(path: "ompi-server-\(UUID().uuidString)")
        try contact.write(to: file, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: file) }
        let named = try OpenMPIServer(environment: ["OMPI_MCA_pmix_server_uri": "file:\(file.path)"])
        #expect(named.endpoints == server.endpoints)
    }
}
