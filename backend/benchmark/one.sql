SELECT to_jsonb(contact) - 'search_text' FROM contact_management_contact AS contact
WHERE contact.organization_id = :organization::uuid AND contact.deleted_at IS NULL
    AND contact.id = (SELECT id FROM contact_management_contact
        WHERE organization_id = :organization::uuid AND deleted_at IS NULL
        ORDER BY created_at DESC, id DESC LIMIT 1);
