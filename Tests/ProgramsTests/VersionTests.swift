import Testing

@Suite struct VersionTests {
    /// Each program tells it, with and without a subcommand, whatever is set.
    @Test func allProgramsHaveOneVersion() throws {
        var versions = Set<String>()
        for (program, command) in [
            ("moe-coordinator", []), ("moe-coordinator", ["serve"]), ("moe-ctl", []), ("moe-ctl", ["run", "list"]),
            ("moe-worker", []), ("moe-worker", ["train"]), ("moe-worker", ["generate"]),
        ] {
            let call = try RunningProgram(
                program, command + ["--version"], variables: ["MOE_RANK": "many", "MOE_COORDINATOR": "nowhere"])
            #expect(call.waitForEnd() == 0, "\(program): \(call.text)")
            versions.insert(call.text)
        }
        #expect(versions.count == 1 && versions.first?.wholeMatch(of: #/\d+\.\d+\.\d+\n/#) != nil, "\(versions)")
    }
}
