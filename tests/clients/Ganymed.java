// The SCPClient of later Ganymeds (262), which has streams instead of files; for earlier ones see Trilead.java.

import ch.ethz.ssh2.Connection;
import ch.ethz.ssh2.SCPClient;
import java.io.File;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;

public class Ganymed {
    public static void main(String[] words) throws Exception {
        if (words[0].equals("version")) {
            URI jar = Connection.class.getProtectionDomain().getCodeSource().getLocation().toURI();
            System.out.println(new File(jar).getCanonicalFile().getName().replaceAll(".*-|\\.jar$", ""));
            return;
        }
        boolean keep = words[1].equals("-p");
        int first = keep ? 2 : 1;
        String target = words[words.length - 1];
        Connection connection =
            new Connection(System.getenv("SCP_HOST"), Integer.parseInt(System.getenv("SCP_PORT")));
        connection.setServerHostKeyAlgorithms(new String[] {"ssh-rsa"});
        connection.setTCPNoDelay(true);
        connection.connect();
        File key = new File(System.getenv("SCP_RSA_KEY"));
        if (!connection.authenticateWithPublicKey(System.getenv("SCP_USER"), key, null)) {
            throw new Exception("not logged in");
        }
        SCPClient client = new SCPClient(connection);
        for (int i = first; i < words.length - 1; i++) {
            String base = new File(words[i]).getName();
            String place = words.length - 1 - first > 1 ? target + "/" + base : target;
            if (words[0].equals("put")) {
                put(client, Paths.get(words[i]), new File(place), keep);
            } else {
                // It puts double quotes around a path, and leaves what is special within them to the user.
                String path = words[i].replaceAll("\\\\([^\"$`\\\\])", "$1");
                try (InputStream in = client.get(path); OutputStream out = new java.io.FileOutputStream(place)) {
                    in.transferTo(out);
                }
            }
        }
        connection.close();
    }

    static void put(SCPClient client, Path file, File place, boolean keep) throws Exception {
        int mode = keep ? (Integer) Files.getAttribute(file, "unix:mode") & 07777 : 0644;
        // No shell sees the name in a record.
        String name = place.getName().replaceAll("\\\\(.)", "$1");
        String octal = String.format("%04o", mode);
        try (OutputStream out = client.put(name, Files.size(file), place.getParent(), octal)) {
            Files.copy(file, out);
        }
    }
}
