import ControlProtocol
import Foundation
import Testing

/// All three programs with keys: a coordinator that the network can reach, a job of two ranks, and operators.
@Suite(.serialized) struct SecureProgramsTests {
    private let inputs: WorkerInputs

    init() throws { inputs = try WorkerInputs() }

    /// The loopback interface, and an address that other machines may know; where there is none, another one of this machine's.
    private static let hosts: [String] = ["127.0.0.1", outsideAddress() ?? "127.0.0.2"]

    @Test(arguments: hosts)
    func trainsUnderKeys(host: String) throws {
        for name in ["worker", "operator", "stranger"] {
            let made = try CtlProgram(["key", "generate", inputs.path(name)])
            #expect(made.status == 0 && made.output.isEmpty, "\(made.errors)")
        }
        let coordinator = try RunningProgram(
            "moe-coordinator",
            [
                "serve", "--database", inputs.path("moe.db"), "--listen", "\(host):0", "--key-file",
                inputs.path("worker"),
                "--operator-key-file", inputs.path("operator"),
            ])
        defer { coordinator.terminate() }
        let address = try #require(
            coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")
        #expect(address.hasPrefix("\(host):"))

        var texts: [String] = []
        func job(_ key: String?, variables: [String: String] = [:]) throws -> (status: Int32, text: String) {
            let job = try RunningProgram(
                "moe-worker",
                inputs.arguments([
                    "--steps": "6", "--report-interval": "2", "--coordinator": address, "--run": "small",
                    "--key-file": key.map(inputs.path),
                ]), ranks: 2, variables: variables)
            let status = job.waitForEnd()
            texts.append(job.text)
            return (status, job.text)
        }
        for (key, text) in [(nil, "--key-file"), ("stranger", "does not take"), ("operator", "is for workers")] {
            let refused = try job(key)
            #expect(refused.status == 77 && refused.text.contains(text), "\(key ?? "no key"): \(refused.text)")
        }
        let missing = try job("no-such-key")
        #expect(missing.status == 1 && missing.text.contains("cannot be read"), "\(missing.text)")

        func ctl(_ arguments: [String], _ key: String?) throws -> CtlProgram {
            let program = try CtlProgram(
                arguments + (key.map { ["--key-file", inputs.path($0)] } ?? []),
                environment: ["MOE_COORDINATOR": address])
            texts += [program.output, program.errors]
            return program
        }
        // Nobody was let in so far.
        #expect(try ctl(["run", "list"], "operator").output == "no runs\n")

        let done = try job(nil, variables: ["MOE_KEY_FILE": inputs.path("worker")])
        #expect(done.status == 0, "\(done.text)")
        let shown = try ctl(["run", "show", "small", "-o", "json"], "worker")
        let run = try JSONDecoder().decode(RunShown.self, from: Data(shown.output.utf8))
        #expect(run.summary.state == .completed)
        // After steps 2, 4 and 6; from each rank.
        #expect(run.storedReports == 6)

        let freeze = ["placement", "freeze", "--run", "small"]
        for (key, text) in [(nil, "--key-file"), ("stranger", "does not take"), ("worker", "is for operators")] {
            let refused = try ctl(freeze, key)
            #expect(refused.status == 77 && refused.errors.contains(text), "\(refused.errors)")
            #expect(refused.errors.split(separator: "\n").count == 1, "\(refused.errors)")
        }
        #expect(try ctl(freeze, "operator").status == 0)
        let inEnvironment = try CtlProgram(
            ["placement", "unfreeze", "--run", "small"],
            environment: ["MOE_COORDINATOR": address, "MOE_KEY_FILE": inputs.path("operator")])
        #expect(inEnvironment.status == 0, "\(inEnvironment.errors)")

        coordinator.terminate()
        #expect(coordinator.waitForEnd() == 0, "\(coordinator.text)")

        // Whatever was said above, no key was.
        let database = ["moe.db", "moe.db-wal"].map { try? Data(contentsOf: URL(fileURLWithPath: inputs.path($0))) }
        let said = Data((texts + [coordinator.text]).joined().utf8) + database.compactMap(\.self).joined()
        #expect(said.range(of: Data("node".utf8)) != nil)
        for name in ["worker", "operator", "stranger"] {
            let key = try Data(contentsOf: URL(fileURLWithPath: inputs.path(name)))
            for form in Self.forms(of: key) { #expect(said.range(of: form) == nil, "\(name)") }
        }
    }

    /// A key as it may be written by mistake: as it is, in hexadecimal, in base64, as a list of numbers.
    private static func forms(of key: Data) -> [Data] {
        let hexadecimal = key.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
        let list = key.map { "\($0)" }.joined(separator: ", ")
        return [key] + [hexadecimal, hexadecimal.uppercased(), list].map { Data($0.utf8) } + [key.base64EncodedData()]
    }

    /// A key that a configuration file names is too much for a coordinator without keys, and can be left out.
    @Test func keysCanBeLeftOut() throws {
        #expect(try CtlProgram(["key", "generate", inputs.path("key")]).status == 0)
        let coordinator = try RunningProgram(
            "moe-coordinator",
            ["serve", "--database", inputs.path("moe.db"), "--listen", "127.0.0.1:0", "--http", "none"])
        defer { coordinator.terminate() }
        let address = try #require(
            coordinator.readLine(after: "moe-coordinator: listening on "), "\(coordinator.text)")
        let file = inputs.path("ctl.yaml")
        try "coordinator: \(address)\nkey-file: \(inputs.path("key"))\n".write(
            toFile: file, atomically: true, encoding: .utf8)
        let refused = try CtlProgram(["run", "list"], environment: ["MOE_CTL_CONFIG": file])
        #expect(refused.status == 77, "\(refused.errors)")
        for words in ["serve with --key-file", "its configuration file names", "--key-file ''"] {
            #expect(refused.errors.contains(words), "\(refused.errors)")
        }
        let listed = try CtlProgram(["run", "list", "--key-file", ""], environment: ["MOE_CTL_CONFIG": file])
        #expect(listed.status == 0, "\(listed.errors)")
        let job = try RunningProgram(
            "moe-worker", inputs.arguments(["--coordinator": address, "--key-file": "", "--run": "small"]))
        #expect(job.waitForEnd() == 0, "\(job.text)")
    }

    @Test func keysAreNeverOverwritten() throws {
        #expect(try CtlProgram(["key", "generate", inputs.path("key")]).status == 0)
        let again = try CtlProgram(["key", "generate", inputs.path("key")])
        #expect(again.status == 1 && again.errors.contains("is there already"), "\(again.errors)")
        #expect(try CtlProgram(["key", "generate", inputs.path("no/such/folder")]).status == 1)
    }

    /// An IPv4 address of an interface that is up and not the loopback interface.
    private static func outsideAddress() -> String? {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return nil }
        defer { freeifaddrs(list) }
        var entry = list
        while let current = entry?.pointee {
            entry = current.ifa_next
            guard let address = current.ifa_addr, address.pointee.sa_family == sa_family_t(AF_INET),
                current.ifa_flags & UInt32(IFF_UP) != 0, current.ifa_flags & UInt32(IFF_LOOPBACK) == 0
            else { continue }
            var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            let length = socklen_t(MemoryLayout<sockaddr_in>.size)
            guard getnameinfo(address, length, &host, socklen_t(host.count), nil, 0, NI_NUMERICHOST) == 0 else {
                continue
            }
            return String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        }
        return nil
    }
}
